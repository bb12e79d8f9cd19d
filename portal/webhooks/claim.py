"""Taking an event from the inbox under a lease, and settling it.

A lease is over when its worker died, which the database knows at once, or when it runs out, which is what ends a
worker that hangs. Leases run on real time, since a worker hangs in real time; when an event is due follows `app_now()`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Interval, Select, cast, func, select, update
from sqlalchemy.orm import Session, defer

from portal.core import jobs, liveness
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import after_commit, unit_of_work
from portal.webhooks.counters import count_event
from portal.webhooks.models import IS_WAITING, StripeEvent
from portal.webhooks.same import Same, settle_same

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=180)
ATTEMPTS_MAX = 12
RETRY_SECONDS_MAX = 3600
# An object whose customer is unknown usually waits for a request that is just ending. One that waits for long belongs
# to another product on the same Stripe account, and each look costs a few calls.
PARK_MIN, PARK_MAX = timedelta(seconds=2), timedelta(hours=1)
PARK_FOR = timedelta(days=1)
# Once Stripe is back after an outage, what has waited is applied within so long.
WAIT_MAX = timedelta(minutes=5)
ERROR_CHARACTERS_MAX = 1000


class LeaseLost(Exception):
    """Another worker took the event over; whatever this one has done must be rolled back."""


@dataclass(frozen=True)
class Claimed:
    """An event under our lease. Its body stays where it is: what is true now is fetched from Stripe by `object_id`."""

    id: str
    event_id: str
    type: str
    object_id: str | None
    snapshot_event_id: str | None
    attempts: int
    lease_token: str
    waiting_for: timedelta
    claimed_at: datetime


def claim() -> Claimed | None:
    """Lease the event that is due longest; `None` when nothing is due. A crashed worker's event is taken over.

    One whose worker crashed each time is not tried for ever: it is dead after `ATTEMPTS_MAX` tries as any other.
    """
    while True:
        with unit_of_work() as session:
            found = session.execute(_due()).one_or_none()
            if found is None:
                return None
            event = _lease(*found)
            if event.attempts <= ATTEMPTS_MAX:
                break
            _bury(event, "its worker died each time")
    failpoint("webhooks.claimed")
    return event


def _due() -> Select[StripeEvent, timedelta, datetime]:
    over = StripeEvent.lease_until.is_(None) | (StripeEvent.lease_until < func.now())
    return (
        select(StripeEvent, cast(func.now() - _waiting_since(), Interval), func.now())
        .where(
            IS_WAITING,
            StripeEvent.run_at <= app_now(),
            over | liveness.is_dead(StripeEvent.lease_holder),
        )
        .order_by(StripeEvent.run_at, StripeEvent.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .options(defer(StripeEvent.body))
        .execution_options(populate_existing=True)
    )


def _waiting_since() -> Any:
    """From when on it could have been applied: an event that was held has not waited for anything of ours."""
    return func.coalesce(StripeEvent.released_at, StripeEvent.received_at)


def _lease(row: StripeEvent, waiting_for: timedelta, claimed_at: datetime) -> Claimed:
    """Write the lease. Should this worker die, another one follows at once, and later ones with growing pauses:
    whatever it is that kills them must not kill them in a circle.
    """
    token = str(uuid.uuid4())
    if row.attempts:
        row.run_at = _after(row.attempts + 1, RETRY_SECONDS_MAX)
    row.attempts += 1
    row.lease_until, row.lease_token, row.lease_holder = func.now() + LEASE, token, liveness.holder()
    return Claimed(
        id=row.id,
        event_id=row.event_id,
        type=row.type,
        object_id=row.object_id,
        snapshot_event_id=row.snapshot_event_id,
        attempts=row.attempts,
        lease_token=token,
        waiting_for=waiting_for,
        claimed_at=claimed_at,
    )


@contextmanager
def applying(event: Claimed, *same: Same) -> Iterator[Session]:
    """The unit in which an event's effects and its `done` commit together, if the lease is still ours.

    What waits and asks for the `same` is done with it.
    """
    failpoint("webhooks.fetched")
    with unit_of_work() as session:
        yield session
        settle_same(event.event_id, event.claimed_at, same)
        _settle(event, state="done", finished_at=app_now(), last_error=None)
        failpoint("webhooks.applied")
    failpoint("webhooks.committed")


def park(event: Claimed, reason: str, *, ours: bool = True) -> None:
    """Something the event needs is not here yet: look again soon, then ever later, and give up after a day.

    Waiting is no failure, so it uses up none of the attempts. Giving up raises an alarm if what is missing is `ours`.
    """
    if event.waiting_for > PARK_FOR:
        with unit_of_work():
            _settle(event, state="ignored", finished_at=app_now(), last_error=reason)
            if ours:
                raise_alarm("given_up_event", event.event_id, type=event.type, reason=reason)
        return
    pause = min(max(event.waiting_for, PARK_MIN), PARK_MAX)
    with unit_of_work():
        _settle(event, state="parked", last_error=reason, attempts=0, run_at=app_now() + pause)


def applied_twin(event: Claimed) -> str | None:
    """The event that says the same in the other form (thin or snapshot), if it has been applied already.

    Both are about one object, whose index finds it.
    """
    twin = StripeEvent.event_id == event.snapshot_event_id
    if event.snapshot_event_id is None:
        twin = StripeEvent.snapshot_event_id == event.event_id
    done = (StripeEvent.object_id == event.object_id) & (StripeEvent.state == "done")
    return db.session.execute(select(StripeEvent.event_id).where(done, twin).limit(1)).scalar()


def pass_over(event: Claimed, twin: str) -> None:
    """Settle an event of which the twin has been applied: there is nothing left to do."""
    with unit_of_work():
        _settle(event, state="ignored", finished_at=app_now(), last_error=f"applied as {twin}")


def fail(event: Claimed, error: BaseException) -> None:
    """Try again later with growing pauses; after `ATTEMPTS_MAX` tries the event is dead and raises an alarm."""
    reason = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
    with unit_of_work():
        if event.attempts < ATTEMPTS_MAX:
            again = _after(event.attempts, RETRY_SECONDS_MAX)
            _settle(event, state="pending", last_error=reason, run_at=again)
        else:
            _bury(event, reason)


def wait(event: Claimed, error: BaseException) -> None:
    """Stripe or the database is away, for which the event cannot be blamed: it uses up none of its tries, however long that
    lasts. The alarm of events that wait tells of it.
    """
    reason = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
    pause = min(max(event.waiting_for, PARK_MIN), WAIT_MAX)
    with unit_of_work():
        _settle(event, state="pending", attempts=event.attempts - 1, last_error=reason, run_at=app_now() + pause)


def try_again(event_id: str) -> bool:
    """Let an event that was set aside begin anew in the current unit, with all of its tries and its day of waiting.

    False when it is not set aside.
    """
    set_aside = StripeEvent.state.in_(("dead", "ignored")) & StripeEvent.last_error.is_not(None)
    found = db.session.execute(
        update(StripeEvent)
        .where(StripeEvent.event_id == event_id, set_aside)
        .values(state="pending", attempts=0, run_at=app_now(), released_at=func.now(), finished_at=None)
        .returning(StripeEvent.id)
        .execution_options(synchronize_session=False)
    )
    after_commit(jobs.hint_soon)
    return found.first() is not None


def _bury(event: Claimed, reason: str) -> None:
    _settle(event, state="dead", finished_at=app_now(), last_error=reason)
    raise_alarm("dead_event", event.event_id, type=event.type, attempts=event.attempts)


def _after(attempts: int, seconds_max: int) -> Any:
    """When to try again, as SQL: 2, 4, 8 … seconds from now."""
    return app_now() + timedelta(seconds=min(seconds_max, 2 ** min(attempts, 20)))


def _settle(event: Claimed, **values: Any) -> None:
    """Record the outcome and end the lease. Raises `LeaseLost`."""
    settled = db.session.execute(
        update(StripeEvent)
        .where(StripeEvent.id == event.id, StripeEvent.lease_token == event.lease_token)
        .values(lease_until=None, lease_token=None, lease_holder=None, **values)
        .returning(StripeEvent.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    if settled is None:
        raise LeaseLost(event.event_id)
    count_event(event.type, {"pending": "retried"}.get(values["state"], values["state"]))
