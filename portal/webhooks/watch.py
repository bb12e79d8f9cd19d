"""The conditions that are looked at every minute: each raises its alarm while it holds, and closes it when it has passed.

Alarms about one thing that happened (a dead event, a ledger that does not add up) are raised where it happens, and
stay open until a person has dealt with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from portal.billing.switch import billing_is_on
from portal.core import alarms, readings, schedule
from portal.core.database import db
from portal.core.ids import first_id
from portal.credits import proof
from portal.webhooks.models import StripeEvent
from portal.webhooks.queries import waiting

LAG_SECONDS_MAX = 300
OVERDUE_SECONDS_MAX = 600
PROOF_AGE_MAX = timedelta(days=2)
# More failures in a day than these, and than three times a usual day of the week before.
FAILURES_MIN, FAILURES_TIMES, DAYS_BEFORE = 5, 3, 7

# What each condition found: the subjects it holds for, and what is known of them.
Noticed = dict[str, dict[str, Any]]


def webhook_lag() -> Noticed:
    now = waiting()
    if not billing_is_on() or now.lag_seconds <= LAG_SECONDS_MAX:
        return {}
    return {"inbox": {"lag_seconds": int(now.lag_seconds), "pending": now.pending}}


def payment_failures() -> Noticed:
    """Invoices whose payment failed, by the events that say so: a day against the mean of the week before it."""
    day_ago = func.now() - timedelta(days=1)
    failed = func.count(StripeEvent.object_id.distinct())
    query = select(
        failed.filter(StripeEvent.received_at > day_ago), failed.filter(StripeEvent.received_at <= day_ago)
    ).where(
        StripeEvent.type == "invoice.payment_failed",
        # The ids tell the time, and their index spares us the events before.
        StripeEvent.id >= first_id("evt", _real_now() - timedelta(days=1 + DAYS_BEFORE)),
    )
    today, week = db.session.execute(query).one()
    if today < FAILURES_MIN or today * DAYS_BEFORE <= FAILURES_TIMES * week:
        return {}
    return {"payments": {"in_a_day": today, "in_the_week_before": week}}


def task_overdue() -> Noticed:
    late = schedule.overdue_seconds()
    return {name: {"seconds": int(seconds)} for name, seconds in late.items() if seconds > OVERDUE_SECONDS_MAX}


def task_failing() -> Noticed:
    return {name: {} for name in schedule.failing()}


def proof_missing() -> Noticed:
    """A ledger that was never proved is young: the schedule's own alarms tell when its proof does not run."""
    last = readings.last(proof.DRIFT)
    return {"ledger": {"hours": last.age // timedelta(hours=1)}} if last and last.age > PROOF_AGE_MAX else {}


CONDITIONS: dict[str, Callable[[], Noticed]] = {
    "webhook_lag": webhook_lag,
    "payment_failures": payment_failures,
    "task_overdue": task_overdue,
    "task_failing": task_failing,
    "proof_missing": proof_missing,
}


def look() -> int:
    """Bring the alarms of all conditions up to date in the current unit; returns how many hold."""
    found = {kind: condition() for kind, condition in CONDITIONS.items()}
    for kind, noticed in found.items():
        alarms.keep_up(kind, noticed)
    return sum(map(len, found.values()))


def _real_now() -> Any:
    return db.session.execute(select(func.now())).scalar_one()
