"""Taking an event from the inbox under a lease, and settling it. A lease that runs out is the crash recovery.

Leases run on real time, since a worker that hangs does so in real time; when an event is due follows `app_now()`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.webhooks.envelope import data_object
from portal.webhooks.models import WAITING, StripeEvent

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=180)
ATTEMPTS_MAX = 12
RETRY_SECONDS_MAX = 3600
# An object whose customer is unknown usually waits for a request that is just ending, rarely for a person.
PARK_SECONDS_MAX = 60
PARK_FOR = timedelta(days=1)
ERROR_CHARACTERS_MAX = 1000


class LeaseLost(Exception):
    """Another worker took the event over; whatever this one has done must be rolled back."""


@dataclass(frozen=True)
class Claimed:
    """An event under our lease. `snapshot` is the object as it was when Stripe made the event."""

    id: str
    event_id: str
    type: str
    object_id: str | None
    attempts: int
    lease_token: str
    received_ago: timedelta
    snapshot: dict[str, Any]


def claim() -> Claimed | None:
    """Lease the event that is due longest; `None` when nothing is due. A crashed worker's event is taken over."""
    free = StripeEvent.lease_until.is_(None) | (StripeEvent.lease_until < func.now())
    due = (
        select(StripeEvent.id)
        .where(StripeEvent.state.in_(WAITING), StripeEvent.run_at <= app_now(), free)
        .order_by(StripeEvent.run_at, StripeEvent.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    token = str(uuid.uuid4())
    with unit_of_work() as session:
        row = session.execute(
            update(StripeEvent)
            .where(StripeEvent.id == due)
            .values(lease_until=func.now() + LEASE, lease_token=token, attempts=StripeEvent.attempts + 1)
            .returning(
                StripeEvent.id,
                StripeEvent.event_id,
                StripeEvent.type,
                StripeEvent.object_id,
                StripeEvent.attempts,
                StripeEvent.body,
                (func.now() - StripeEvent.received_at).label("received_ago"),
            )
        ).one_or_none()
    if row is None:
        return None
    return Claimed(
        id=row.id,
        event_id=row.event_id,
        type=row.type,
        object_id=row.object_id,
        attempts=row.attempts,
        lease_token=token,
        received_ago=row.received_ago,
        snapshot=data_object(row.body),
    )


@contextmanager
def applying(event: Claimed) -> Iterator[Session]:
    """The unit in which an event's effects and its `done` commit together, if the lease is still ours."""
    with unit_of_work() as session:
        yield session
        _settle(event, state="done", finished_at=app_now(), last_error=None)


def park(event: Claimed, reason: str) -> None:
    """Something the event needs is not here yet: look again soon, and give up after a day."""
    if event.received_ago > PARK_FOR:
        with unit_of_work():
            _settle(event, state="ignored", finished_at=app_now(), last_error=reason)
        return
    with unit_of_work():
        _settle(event, state="parked", last_error=reason, **_later(event.attempts, PARK_SECONDS_MAX))


def fail(event: Claimed, error: BaseException) -> None:
    """Try again later with growing pauses; after `ATTEMPTS_MAX` tries the event is dead and raises an alarm."""
    reason = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
    with unit_of_work():
        if event.attempts < ATTEMPTS_MAX:
            _settle(event, state="pending", last_error=reason, **_later(event.attempts, RETRY_SECONDS_MAX))
        else:
            _settle(event, state="dead", finished_at=app_now(), last_error=reason)
            raise_alarm("dead_event", event.event_id, type=event.type, attempts=event.attempts)


def _later(attempts: int, seconds_max: int) -> dict[str, Any]:
    return {"run_at": app_now() + timedelta(seconds=min(seconds_max, 2 ** min(attempts, 20)))}


def _settle(event: Claimed, **values: Any) -> None:
    settled = db.session.execute(
        update(StripeEvent)
        .where(StripeEvent.id == event.id, StripeEvent.lease_token == event.lease_token)
        .values(lease_until=None, lease_token=None, **values)
        .returning(StripeEvent.id)
    ).scalar()
    if settled is None:
        raise LeaseLost(event.event_id)
