"""What the worker does for this feature: the sweep that finds what a lost hint or a dead worker left behind, the watch."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from portal.core.jobs import ROUND
from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work
from portal.webhooks.apply import drain
from portal.webhooks.watch import look


def watch() -> int:
    with unit_of_work():
        return look()


DRAINS = (partial(drain, ROUND),)
SCHEDULE = {"webhooks.watch": Task(watch, timedelta(seconds=60))}
