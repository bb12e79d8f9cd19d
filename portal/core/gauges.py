"""What the core's tables say when `/metrics` is asked: open alarms, and whether the schedule runs."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from portal.core import alarms, schedule
from portal.core.metrics import gauge, gauges


def core_gauges() -> Iterator[Metric]:
    yield gauges("billing_alarms_open", "What a person must look at, by kind.", "kind", alarms.open_by_kind())
    words = "For how long each scheduled task should have run; all of them grow when no worker runs."
    yield gauges("billing_schedule_overdue_seconds", words, "task", schedule.overdue_seconds())
    yield gauge("billing_schedule_failing", "Scheduled tasks whose last run failed.", len(schedule.failing()))


GAUGES = (core_gauges,)
