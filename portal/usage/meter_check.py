"""The daily look whether Stripe counts what we have reported: its sums of each team's events against our reports.

What is still being sent may have come or not. Anything else that differs is kept as a drift, with an alarm, until it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlalchemy import func, select, update

from portal.billing.gateway import Gateway, NotFound
from portal.billing.models import Customer
from portal.catalog.models import Meter
from portal.core import alarms, clock
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import end_read, unit_of_work
from portal.usage.report_models import MeterDrift, MeterReport

log = structlog.get_logger(__name__)

DRIFT = "meter_drift"
# Full days of UTC, as Stripe groups them too. What Stripe takes goes 35 days back.
DAYS = 35


@dataclass(frozen=True)
class Sums:
    """What we have reported of a team's use of a meter: `delivered` is there for sure, `open` may be."""

    team_id: str
    meter: str
    customer_id: str
    meter_id: str
    delivered: int
    open: int

    def fits(self, found: Decimal) -> bool:
        return self.delivered <= found <= self.delivered + self.open and found == int(found)


def check(stripe: Gateway) -> int:
    """Compare every team that has reported something; returns how many differ. Raises `GatewayError`."""
    until = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    since = until - timedelta(days=DAYS)
    sums = _reported(since, until)
    end_read()
    found = {one: _found(stripe, one, since, until) for one in sums}
    differing = {one: theirs for one, theirs in found.items() if theirs is not None and not one.fits(theirs)}
    with unit_of_work():
        _keep(differing, since, until)
        alarms.keep_up(
            DRIFT,
            {
                f"{one.team_id} {one.meter}": {"reported": one.delivered, "at_stripe": str(theirs)}
                for one, theirs in differing.items()
            },
        )
    return len(differing)


def _reported(since: datetime, until: datetime) -> list[Sums]:
    delivered = func.coalesce(func.sum(MeterReport.quantity).filter(MeterReport.state == "delivered"), 0)
    waiting = func.sum(MeterReport.quantity).filter(MeterReport.state.in_(("sending", "unknown")))
    query = (
        select(
            MeterReport.team_id,
            MeterReport.meter,
            Customer.stripe_id,
            Meter.stripe_meter_id,
            delivered,
            func.coalesce(waiting, 0),
        )
        .join(Customer, Customer.team_id == MeterReport.team_id)
        .join(Meter, Meter.key == MeterReport.meter)
        .where(MeterReport.dated_at >= since, MeterReport.dated_at < until)
        .where(Customer.stripe_id.is_not(None), Customer.deleted.is_(False), Meter.stripe_meter_id.is_not(None))
        .group_by(MeterReport.team_id, MeterReport.meter, Customer.stripe_id, Meter.stripe_meter_id)
        .order_by(MeterReport.team_id, MeterReport.meter)
    )
    return [
        Sums(team_id, meter, str(customer_id), str(meter_id), int(sure), int(maybe))
        for team_id, meter, customer_id, meter_id, sure, maybe in db.session.execute(query)
    ]


def _found(stripe: Gateway, sums: Sums, since: datetime, until: datetime) -> Decimal | None:
    """Stripe's sum; None of a customer or a meter that is not there any more."""
    try:
        return stripe.usage_between(sums.meter_id, sums.customer_id, int(since.timestamp()), int(until.timestamp()))
    except NotFound:
        log.warning("meter_not_comparable", team_id=sums.team_id, meter=sums.meter)
        return None


def _keep(differing: dict[Sums, Decimal], since: datetime, until: datetime) -> None:
    """Write what differs, once for as long as it does, and what does not any more."""
    for drift in db.session.execute(select(MeterDrift).where(MeterDrift.gone_at.is_(None))).scalars():
        if not any((one.team_id, one.meter) == (drift.team_id, drift.meter) for one in differing):
            db.session.execute(update(MeterDrift).where(MeterDrift.id == drift.id).values(gone_at=app_now()))
    for one, theirs in differing.items():
        values = {"since": since, "until": until, "reported": one.delivered, "at_stripe": theirs}
        still = update(MeterDrift).where(
            MeterDrift.team_id == one.team_id, MeterDrift.meter == one.meter, MeterDrift.gone_at.is_(None)
        )
        if db.session.execute(still.values(**values).returning(MeterDrift.id)).scalar() is None:
            db.session.add(MeterDrift(team_id=one.team_id, meter=one.meter, **values))


def open_drifts() -> int:
    query = select(func.count()).select_from(MeterDrift).where(MeterDrift.gone_at.is_(None))
    return int(db.session.execute(query).scalar_one())
