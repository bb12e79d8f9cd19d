"""Sending reports of use to Stripe: each counts once there, however often it is sent, and none is lost.

Stripe takes an identifier once in a day at least (https://docs.stripe.com/api/billing/meter-event/create), so within that
time a report whose answer was lost is sent again, and told that it is there already, it is there. Later than that nobody
vouches for it: then Stripe's sum of the minute that the report is dated in says whether it has come, and only if it has not
is it sent again. Where the sum says neither, a person has to look.

The key of the call is another one each time: Stripe would answer a failure that it has stored again for a day, and it is
the identifier that keeps a report from counting twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import func, select

from portal.billing import leased_work
from portal.billing.gateway import Gateway, GatewayError, InvalidRequest, Unavailable
from portal.billing.leased_work import ATTEMPTS_WORRYING, after, note_sending, release
from portal.billing.meter_terms import CUSTOMER, VALUE, event_name
from portal.billing.models import Customer
from portal.catalog.models import Meter
from portal.core import clock
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.failpoints import failpoint
from portal.core.metrics import counter
from portal.core.unit_of_work import after_commit, end_read, unit_of_work
from portal.usage.report_models import OPEN_STATES, MeterReport

log = structlog.get_logger(__name__)

# Stripe's words for what there is of a report already, and for what is wrong with all reports of a meter at the moment.
ALREADY = "duplicate_meter_event"
LATER = ("no_meter", "archived_meter")
# For so long Stripe surely knows an identifier; a day, less what clocks and calls may take.
KNOWN_FOR = timedelta(hours=23)
TAKEN_FOR = timedelta(days=35)
PAUSE = timedelta(hours=1)
ERROR_MAX = 500
REFUSED = "usage_refused"
UNCLEAR = "usage_unclear"
STUCK = "stuck_meter_report"

SENT = counter("billing_meter_reports_total", "Reports of use that Stripe has answered.", "outcome")


@dataclass(frozen=True)
class Outcome:
    """`state` is what the report is in now; `error` says why it was refused, and `pause` when it is tried next."""

    state: str
    error: str | None = None
    pause: timedelta | None = None
    alarm: str | None = None


@dataclass(frozen=True)
class Address:
    """Where a report goes: the customer, and the meter at Stripe; None where there is none (any more)."""

    customer_id: str | None
    meter_id: str | None


def drain(gateway: Callable[[], Gateway], at_most: int) -> int:
    """Send reports until none is due, `at_most` were tried, or this process is to end; returns how many."""
    due = partial(leased_work.claim, MeterReport, OPEN_STATES)
    return leased_work.drain(due, lambda work: _send(gateway(), *work), at_most)


def send_of_team(stripe: Gateway, team_id: str, at_most: int) -> None:
    """Send a team's reports until none is due, one was not taken, or `at_most` were tried."""
    for _ in range(at_most):
        work = leased_work.claim(MeterReport, OPEN_STATES, MeterReport.team_id == team_id)
        if work is None or not _send(stripe, *work):
            return


def open_reports(team_id: str) -> list[MeterReport]:
    """The team's reports that Stripe has not answered."""
    still = select(MeterReport).where(MeterReport.team_id == team_id, MeterReport.state.in_(OPEN_STATES))
    return list(db.session.execute(still).scalars())


def _send(stripe: Gateway, report: MeterReport, token: str) -> bool:
    """Whether Stripe has it."""
    outcome: Outcome | None = None
    failpoint("meter_reports.claimed")
    with leased_work.one_try(report, token, failed="meter_report_failed"):
        outcome = _outcome(stripe, report, token)
        failpoint("meter_reports.asked")
        with unit_of_work():
            _record(report, token, outcome)
    return outcome is not None and outcome.state == "delivered"


def _outcome(stripe: Gateway, report: MeterReport, token: str) -> Outcome:
    address, now = _address(report), clock.now()
    end_read()
    if address.customer_id is None:
        return Outcome("refused", "the customer was deleted at Stripe")
    try:
        if report.first_sent_at is not None and now - report.first_sent_at >= KNOWN_FOR:
            come = has_come(stripe, report, address)
            if come is not False:
                return Outcome("delivered") if come else Outcome("unknown", pause=PAUSE, alarm=UNCLEAR)
        if report.dated_at < now - TAKEN_FOR:
            return Outcome("refused", "the use lies more than 35 days back")
        return _ask(stripe, report, token, address.customer_id)
    except Unavailable:
        return Outcome("unknown" if leased_work.was_sent(report) else "pending")
    except GatewayError as error:  # it was not taken, for a reason that will pass
        return Outcome("pending", error.message[:ERROR_MAX])


def _ask(stripe: Gateway, report: MeterReport, token: str, customer_id: str) -> Outcome:
    note_sending(report, token)
    failpoint("meter_reports.sending")
    params = {
        "event_name": event_name(report.meter),
        "identifier": report.identifier,
        "timestamp": int(report.dated_at.timestamp()),
        "payload": {CUSTOMER: customer_id, VALUE: str(report.quantity)},
    }
    try:
        stripe.report_usage(params, f"{report.id}-{report.attempts}")
    except InvalidRequest as error:
        if error.code == ALREADY:
            return Outcome("delivered")
        if error.code in LATER:
            return Outcome("pending", error.message[:ERROR_MAX], pause=PAUSE, alarm=STUCK)
        return Outcome("refused", error.message[:ERROR_MAX] or "refused without a word")
    failpoint("meter_reports.sent")
    return Outcome("delivered")


def has_come(stripe: Gateway, report: MeterReport, address: Address) -> bool | None:
    """Whether a report that was sent is in Stripe's sum of its minute; None when the sum says neither. Raises `GatewayError`."""
    if address.customer_id is None or address.meter_id is None:
        return None
    start = report.dated_at.replace(second=0, microsecond=0)
    delivered, others = _of_minute(report, start)
    end_read()
    epoch = int(start.timestamp())
    found = stripe.usage_between(address.meter_id, address.customer_id, epoch, epoch + 60)
    if found == delivered:
        return False
    return True if not others and found == delivered + report.quantity else None


def _of_minute(report: MeterReport, start: datetime) -> tuple[int, int]:
    """What the reports of a minute come to that Stripe has for sure, and how many others it may have besides this one."""
    same = (MeterReport.team_id == report.team_id) & (MeterReport.meter == report.meter)
    within = (MeterReport.dated_at >= start) & (MeterReport.dated_at < start + timedelta(minutes=1))
    delivered = func.coalesce(func.sum(MeterReport.quantity).filter(MeterReport.state == "delivered"), 0)
    open_too = MeterReport.state.in_(("sending", "unknown")) & (MeterReport.id != report.id)
    row = db.session.execute(select(delivered, func.count().filter(open_too)).where(same, within)).one()
    return int(row[0]), int(row[1])


def _address(report: MeterReport) -> Address:
    customer = select(Customer.stripe_id).where(Customer.team_id == report.team_id, Customer.deleted.is_(False))
    meter = select(Meter.stripe_meter_id).where(Meter.key == report.meter)
    return Address(db.session.execute(customer).scalar(), db.session.execute(meter).scalar())


def _record(report: MeterReport, token: str, outcome: Outcome) -> None:
    """In the current unit. Raises `LeaseLost`."""
    values: dict[str, Any] = {"state": outcome.state, "error": outcome.error}
    if outcome.state == "delivered":
        values["delivered_at"] = app_now()
    elif outcome.state != "refused":
        values["run_at"] = app_now() + outcome.pause if outcome.pause else after(report.attempts)
    release(report, token, **values)
    after_commit(SENT.labels(outcome=outcome.state).inc)
    subject = f"{report.team_id} {report.meter}"
    facts = {"report": report.identifier, "quantity": report.quantity, "error": outcome.error}
    if outcome.state == "refused":
        raise_alarm(REFUSED, subject, **facts)
    elif outcome.alarm == UNCLEAR:
        raise_alarm(UNCLEAR, subject, **facts)
    elif outcome.alarm == STUCK or report.attempts == ATTEMPTS_WORRYING:
        raise_alarm(STUCK, subject, **facts)
