"""What the worker does for this feature: the sweep that finds what a lost hint or a dead worker left behind, the watch, and
the look for events that never came.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from portal.billing.gateway import gateway
from portal.core.jobs import ROUND
from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work
from portal.webhooks import missed
from portal.webhooks.apply import drain
from portal.webhooks.watch import look


def watch() -> int:
    with unit_of_work():
        return look()


def fetch_missed() -> int:
    return missed.fetch_missed(gateway())


DRAINS = (partial(drain, ROUND),)
SCHEDULE = {
    "webhooks.watch": Task(watch, timedelta(seconds=60)),
    "webhooks.missed": Task(fetch_missed, timedelta(hours=1), first_in=timedelta(minutes=30)),
}
