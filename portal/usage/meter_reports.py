"""Writing down what is to be reported to Stripe of the daily totals, before anybody is asked to take it.

Owed of a day's total is what no report holds yet. Each part is written once, with a number, and its words never change
again, so that it can be sent as often as it takes: `usage/meter_sending.py` does. Two workers that write at the same time
come to the same number, and one of them writes nothing.

Stripe takes use of the last 35 days. A team that has no customer there waits for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert

from portal.billing.models import Invoice, Subscription, SubscriptionItem
from portal.catalog.models import Meter, Price
from portal.core import clock, jobs
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.unit_of_work import after_commit
from portal.usage.report_dates import BillingPeriod, Dated, date_of
from portal.usage.report_models import MeterReport

# The same total is reported anew when so much time has passed: twice within the hour for which an invoice is a draft.
AGAIN_AFTER = timedelta(minutes=25)
# A day more than Stripe takes, and we do: what is too old by then is refused and seen, not forgotten.
REPORTED_WITHIN = timedelta(days=36)
# How far our clock and Stripe's may lie apart. Not more, since before a change of plan use had another price.
CLOCKS_APART = timedelta(seconds=5)
IDENTIFIER_MAX = 100
BATCH = 500

AFTER_CLOSE = "usage_after_close"

# Archived meters too: what was used of them is still owed.
_OWED = (
    "select d.team_id, d.meter, d.starts_at, d.quantity - coalesce(r.quantity, 0) as owed,"
    " coalesce(r.part, 0) + 1 as part"
    " from (select team_id, meter, starts_at, sum(quantity)::bigint as quantity from usage_daily"
    "   where {of_team} starts_at >= app_now() - :within and meter in"
    "     (select key from meters where mode = 'metered' and stripe_meter_id is not null)"
    "   group by team_id, meter, starts_at) d"
    " join customers c on c.team_id = d.team_id and c.stripe_id is not null and not c.deleted"
    " left join lateral (select sum(quantity)::bigint as quantity, max(part) as part, max(created_at) as at"
    "   from meter_reports where team_id = d.team_id and meter = d.meter and starts_at = d.starts_at) r on true"
    " where d.quantity > coalesce(r.quantity, 0) and (r.at is null or r.at <= app_now() - :again)"
    " order by d.starts_at, d.team_id, d.meter limit :batch"
)
OWED = text(_OWED.format(of_team=""))
OWED_OF_TEAM = text(_OWED.format(of_team="team_id = :team_id and"))


def freeze(at_most: int = BATCH) -> int:
    """Write a report for each total of which something is owed, in the current unit of work; returns how many there were."""
    owed = db.session.execute(OWED, {"within": REPORTED_WITHIN, "again": AGAIN_AFTER, "batch": at_most}).all()
    _write_all(owed, clock.now())
    if owed:
        after_commit(jobs.hint_soon)
    return len(owed)


def freeze_all_of(team_id: str) -> None:
    """As `freeze`, of one team whose period is about to end, however lately its totals were reported before.

    A period does not hold its last instant, so what is reported now is dated a little before.
    """
    values = {"team_id": team_id, "within": REPORTED_WITHIN, "again": timedelta(), "batch": BATCH}
    _write_all(db.session.execute(OWED_OF_TEAM, values).all(), clock.now() - CLOCKS_APART)


def _write_all(owed: Sequence[Row[Any]], now: datetime) -> None:
    periods = billing_periods(sorted({row.team_id for row in owed}))
    for row in owed:
        _write(row, date_of(row.starts_at, now, periods.get((row.team_id, row.meter))), periods)


def _write(row: Row[Any], dated: Dated, periods: dict[tuple[str, str], BillingPeriod]) -> None:
    closes_at = dated.closes_at
    closed = closes_at is not None and _is_billed(periods[row.team_id, row.meter], row.starts_at, closes_at)
    report = MeterReport(
        team_id=row.team_id,
        meter=row.meter,
        starts_at=row.starts_at,
        part=row.part,
        quantity=row.owed,
        identifier=identifier_of(row.team_id, row.meter, row.starts_at, row.part),
        dated_at=dated.at,
        after_close=closed,
    )
    names = ("id", "team_id", "meter", "starts_at", "part", "quantity", "identifier", "dated_at", "after_close")
    values = {name: getattr(report, name) for name in names} | {"state": "pending"}
    written = insert(MeterReport).values(values).on_conflict_do_nothing().returning(MeterReport.id)
    if db.session.execute(written).scalar() is not None and closed:
        raise_alarm(AFTER_CLOSE, f"{row.team_id} {row.meter}", quantity=row.owed, starts_at=row.starts_at.isoformat())


def identifier_of(team_id: str, meter: str, starts_at: datetime, part: int) -> str:
    """What Stripe tells a report by: always the same for the same part, and 100 characters at most."""
    name = f"{team_id}-{starts_at:%Y%m%dT%H%M%S%f}-{part}-{meter}"
    return name if len(name) <= IDENTIFIER_MAX else hashlib.sha256(name.encode()).hexdigest()


def billing_periods(teams: Sequence[str]) -> dict[tuple[str, str], BillingPeriod]:
    """By team and meter: the newest period that Stripe bills its use in; none where no subscription counts it."""
    query = (
        select(SubscriptionItem, Subscription, Meter.key)
        .join(Subscription, Subscription.id == SubscriptionItem.subscription_id)
        .join(Price, Price.stripe_price_id == SubscriptionItem.stripe_price_id)
        .join(Meter, Meter.id == Price.meter_id)
        .where(SubscriptionItem.team_id.in_(teams), Subscription.duplicate.is_(False))
        .order_by(Subscription.started_at, SubscriptionItem.current_period_start)
    )
    found: dict[tuple[str, str], BillingPeriod] = {}
    for item, subscription, meter in db.session.execute(query):
        key = (item.team_id, meter)
        found[key] = _period(item, subscription, found.get(key))
    return found


def _period(item: SubscriptionItem, subscription: Subscription, known: BillingPeriod | None) -> BillingPeriod:
    """`known` is the newest of those that began before this one."""
    return BillingPeriod(
        start=item.current_period_start,
        end=min(item.current_period_end, subscription.ended_at or item.current_period_end),
        subscription_stripe_id=subscription.stripe_id,
        trial=subscription.trial_end is not None and item.current_period_end <= subscription.trial_end,
        began=subscription.started_at,
        earlier_until=_earlier_until(subscription, known),
    )


def _earlier_until(subscription: Subscription, known: BillingPeriod | None) -> datetime | None:
    """When another subscription than this one has billed last. One that ended as a trial has billed nothing."""
    if known is None:
        return None
    same = known.subscription_stripe_id == subscription.stripe_id
    return known.earlier_until if same or known.trial else known.end


def _is_billed(period: BillingPeriod, starts_at: datetime, closes_at: datetime) -> bool:
    """Whether the invoice of the period that closed then was finalized by now.

    On none is the use of a trial, and what a team used before it had a plan: there was no period that could close.
    """
    if period.trial or not period.was_counted(starts_at, closes_at):
        return False
    of_it = Invoice.subscription_stripe_id == period.subscription_stripe_id
    later = Invoice.created_at >= closes_at - timedelta(minutes=1)
    finalized = select(func.count()).where(of_it, later, Invoice.finalized_at.is_not(None))
    return bool(db.session.execute(finalized).scalar_one())
