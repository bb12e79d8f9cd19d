"""How many events of which type came to what."""

from __future__ import annotations

from portal.core.metrics import counter
from portal.core.unit_of_work import after_commit
from portal.webhooks.envelope import THIN_PREFIX

EVENTS = counter(
    "billing_webhook_events_total",
    "Stripe's events: kept, duplicate, held, ignored or refused at the door; done, parked, retried or dead later.",
    "type",
    "outcome",
)

OTHER = "other"


def count_event(event_type: str, outcome: str) -> None:
    """Count once the current unit is committed. The type must be one that we apply, or `OTHER`: senders name any.

    A thin event counts as the snapshot event that says the same.
    """
    after_commit(EVENTS.labels(type=event_type.removeprefix(THIN_PREFIX), outcome=outcome).inc)


def count_refused() -> None:
    EVENTS.labels(type=OTHER, outcome="refused").inc()
