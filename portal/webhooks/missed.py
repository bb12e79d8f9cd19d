"""Fetching what never came: Stripe's own list of events against our inbox.

Stripe repeats a delivery for three days and gives up; an endpoint that was switched off, or asks for too few types, gets
nothing at all. The list reaches back 30 days. Whatever of it we do not have is kept as if it had been delivered, and applied
by the same handlers, so that fetching too much does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import select

from portal.core import clock, readings
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.unit_of_work import end_read, statement_unit, unit_of_work
from portal.webhooks.envelope import Malformed, open_envelope
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.models import StripeEvent
from portal.webhooks.receive import keep

log = structlog.get_logger(__name__)

# Up to when (in epoch seconds) everything that happened at Stripe is known to be in the inbox.
CHECKED = "webhooks.checked_until"
STRIPE_KEEPS = timedelta(days=30)
# What has just happened is probably on its way to us.
UNDER_WAY = timedelta(minutes=10)
TYPES_A_CALL = 20

Json = dict[str, Any]


class EventGateway(Protocol):
    """What is asked of Stripe here."""

    def events_since(self, epoch: int, types: list[str]) -> Iterator[list[Json]]: ...


def fetch_missed(gateway: EventGateway) -> int:
    """Keep every event of a type that we apply which Stripe has and we have not; returns how many those were.

    Raises `GatewayError`; the next run then goes back as far as this one.
    """
    now = clock.now()
    since, until = _checked_until(now), now - UNDER_WAY
    end_read()
    types = sorted(HANDLERS)
    found = 0
    for start in range(0, len(types), TYPES_A_CALL):
        for page in gateway.events_since(int(since.timestamp()), types[start : start + TYPES_A_CALL]):
            found += sum(_keep(event) for event in _unknown(page, until))
    with unit_of_work():
        readings.take(CHECKED, int(until.timestamp()))
        if found:
            raise_alarm("missed_events", "inbox", events=found, since=since.isoformat())
    return found


def _checked_until(now: datetime) -> datetime:
    """Where to begin: where the last run ended, at first after the second of the oldest event that ever came: what was before
    that is from before us. Stripe keeps no more than so much.
    """
    last, oldest = readings.last(CHECKED), _oldest()
    first = oldest + timedelta(seconds=1) if oldest else now
    known = datetime.fromtimestamp(last.value, UTC) if last else first
    return max(known, now - STRIPE_KEEPS)


def _oldest() -> datetime | None:
    return db.session.execute(select(StripeEvent.created_at).order_by(StripeEvent.id).limit(1)).scalar()


def _unknown(page: list[Json], until: datetime) -> list[Json]:
    """Of a page the events that we have in neither form, the oldest first."""
    old_enough = [event for event in reversed(page) if event["created"] <= until.timestamp()]
    ids = [event["id"] for event in old_enough]
    # A thin event has an id of its own and names the other; the index of the objects finds it.
    objects = [event["data"]["object"].get("id") for event in old_enough]
    thin = StripeEvent.object_id.in_(objects) & StripeEvent.snapshot_event_id.in_(ids)
    query = select(StripeEvent.event_id, StripeEvent.snapshot_event_id).where(StripeEvent.event_id.in_(ids) | thin)
    known = {name for row in db.session.execute(query) for name in row}
    end_read()
    return [event for event in old_enough if event["id"] not in known]


def _keep(event: Json) -> bool:
    body = json.dumps(event).encode()
    try:
        envelope = open_envelope(body)
    except Malformed as error:  # the door would not have taken it either
        log.warning("missed_event_refused", event_id=event.get("id"), reason=str(error))
        return False
    with statement_unit() as run:
        return keep(envelope, body, run)
