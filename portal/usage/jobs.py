"""What the worker does for usage: the months of single uses are made ahead, and dropped when they are past."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work
from portal.usage.retention import drop_old_months, look_for_missing_months, make_months

log = structlog.get_logger(__name__)

T = TypeVar("T")


def make_usage_months() -> int:
    made = _unless_locked(make_months, 0)
    with unit_of_work():
        look_for_missing_months()
    return made


def drop_usage_months() -> int:
    dropped = _unless_locked(drop_old_months, [])
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


SCHEDULE = {
    "usage.months": Task(make_usage_months, timedelta(hours=1)),
    "usage.retention": Task(drop_usage_months, timedelta(days=1), first_in=timedelta(minutes=20)),
}
