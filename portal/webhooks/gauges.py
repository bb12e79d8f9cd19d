"""What the inbox says when `/metrics` is asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from portal.core.metrics import gauge, gauges
from portal.webhooks.queries import waiting


def inbox_gauges() -> Iterator[Metric]:
    now = waiting()
    lag = now.lag_seconds
    yield gauge("billing_webhook_lag_seconds", "Since when the oldest event that could be applied waits.", lag)
    counts = {"pending": now.pending, "parked": now.parked, "held": now.held}
    yield gauges("billing_webhook_backlog", "Events that are kept and not applied, by state.", "state", counts)
    yield gauge("billing_queue_depth", "Work that waits in the database.", now.pending + now.parked, queue="events")
    yield gauge("billing_queue_oldest_seconds", "For how long the oldest of it has waited.", lag, queue="events")


GAUGES = (inbox_gauges,)
