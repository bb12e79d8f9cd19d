"""What the worker does for usage: what metered meters have counted is reported to Stripe and compared with what Stripe has;
the months of single uses are made ahead, and dropped when they are past; thresholds and budgets are told of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from portal.billing.gateway import gateway
from portal.billing.switch import billing_is_on
from portal.core.jobs import ROUND
from portal.core.schedule import Task, each_in_a_unit
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.usage import meter_check, meter_reports, meter_sending
from portal.usage.budgets import teams_with_budgets, tell_of_budgets
from portal.usage.retention import drop_old_months, look_for_missing_months, make_months
from portal.usage.thresholds import reached, tell_of_included

log = structlog.get_logger(__name__)

T = TypeVar("T")
BATCHES_MAX = 50


def freeze_reports() -> int:
    """In units of a few hundred, so that one is short and the next begins from what the last one wrote."""
    written = 0
    for _ in range(BATCHES_MAX):
        batch = run_in_unit(partial(meter_reports.freeze, meter_reports.BATCH))
        written += batch
        if batch < meter_reports.BATCH:
            break
    return written


def drain_reports() -> int:
    """While billing is switched off Stripe is told nothing; what was used meanwhile is reported when it is on again."""
    return meter_sending.drain(gateway, ROUND) if billing_is_on() else 0


def check_meters() -> int:
    return meter_check.check(gateway()) if billing_is_on() else 0


BATCH = 200


def make_usage_months() -> int:
    made = _unless_locked(make_months, 0)
    with unit_of_work():
        look_for_missing_months()
    return made


def drop_usage_months() -> int:
    nothing: list[str] = []
    dropped = _unless_locked(drop_old_months, nothing)
    if dropped:
        log.info("usage_months_dropped", tables=dropped)
    return len(dropped)


def _unless_locked(work: Callable[[], T], otherwise: T) -> T:
    """Tables of months come and go while the application runs: where its work is in the way, another time will do."""
    try:
        with unit_of_work():
            return work()
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        log.info("usage_months_busy")
        return otherwise


def look_at_included() -> int:
    with unit_of_work():
        found = reached(BATCH)
    return each_in_a_unit([partial(tell_of_included, one) for one in found])


def look_at_budgets() -> int:
    with unit_of_work():
        teams = teams_with_budgets()
    return each_in_a_unit([partial(tell_of_budgets, team_id) for team_id in teams])


DRAINS = (drain_reports,)
SCHEDULE = {
    "usage.meter_reports": Task(freeze_reports, timedelta(minutes=10)),
    "usage.meter_check": Task(check_meters, timedelta(days=1), first_in=timedelta(hours=1)),
    "usage.included": Task(look_at_included, timedelta(minutes=2)),
    "usage.budgets": Task(look_at_budgets, timedelta(minutes=1)),
    "usage.months": Task(make_usage_months, timedelta(hours=1)),
    "usage.retention": Task(drop_usage_months, timedelta(days=1), first_in=timedelta(minutes=20)),
}
