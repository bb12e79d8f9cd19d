"""What the worker does when it looks: apply events, run due tasks, send mails. Safe to call from anywhere, any time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import structlog

from portal.core import schedule
from portal.core.database import db
from portal.core.schedule import Task
from portal.core.stopping import at_work
from portal.features import modules

log = structlog.get_logger(__name__)


def drain() -> int:
    """Do everything that is due, and return how much that was. The queue's hint and the poll loop both call this.

    In rounds, so that a storm of events does not keep mails and the schedule waiting. The parts are independent: one
    that fails is logged and the next one still runs.
    """
    total = 0
    with at_work():
        while done := sum(_guarded(part) for part in (_drains, _tasks)):
            total += done
    return total


def _guarded(part: Callable[[], int]) -> int:
    try:
        return part()
    except Exception:
        db.session.rollback()
        log.exception("drain_failed", part=part.__name__)
        return 0


def _drains() -> int:
    return sum(_guarded(drain_feature) for module in modules("jobs") for drain_feature in getattr(module, "DRAINS", ()))


def _tasks() -> int:
    return schedule.run_due(tasks())


@cache
def tasks() -> dict[str, Task]:
    """Every feature's scheduled tasks by name; a name is the row's key in `schedule`."""
    found: dict[str, Task] = {}
    for module in modules("jobs"):
        for name, task in getattr(module, "SCHEDULE", {}).items():
            assert name not in found, f"two scheduled tasks are called {name}"
            found[name] = task
    return found
