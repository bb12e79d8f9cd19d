"""Doing a request once for each idempotency key of a team, and giving its answer again whenever it is asked again.

A key is taken under a lease in a unit of its own before anything is done, so that of many requests at once one does
it. Its row's id is the same for every try of the key: whatever a try asks of others (Stripe above all) carries it.
A try that dies leaves the row behind; when its lease is over, the next request with the key takes the try over.
Leases run on real time, since a process hangs in real time.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Interval,
    UniqueConstraint,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import UUID, insert
from sqlalchemy.engine import Row
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime, db
from portal.core.ids import new_id

# Longer than the slowest request: a handful of calls to Stripe of eight seconds each.
LEASE = timedelta(seconds=60)
KEPT_FOR = timedelta(hours=48)
SWEEP_MAX = 5_000


class IdempotencyKey(Model):
    """A key a team has used, the call and request it stands for, and the answer once there is one."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("length(key) between 1 and 255", name="key"),
        CheckConstraint("length(request_hash) = 64", name="request_hash"),
        CheckConstraint(
            "case state when 'in_flight' then status is null and body is null and lease_token is not null"
            " and lease_until is not null when 'done' then status between 200 and 299 and body is not null"
            " and lease_token is null and lease_until is null else false end",
            name="state",
        ),
        UniqueConstraint("team_id", "key"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    key: Mapped[str] = mapped_column(PrefixedId)
    call: Mapped[str]
    request_hash: Mapped[str]
    state: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[str | None]
    lease_token: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    lease_until: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class KeyReused(Exception):
    """The key stands for another request already."""


class InFlight(Exception):
    """Another try of this key is at work; `seconds` is when to ask again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"in flight, ask again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Request:
    """What is to be done once: the team, its key for it, the call (`POST /…`) and what the call was given."""

    team_id: str
    key: str
    call: str
    content: Any

    @property
    def hash(self) -> str:
        """What makes two requests the same one: the same call with the same values, however they are spelled."""
        text = json.dumps([self.call, self.content], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Try:
    """The right to do it. `id` is that of the key's row, the same for every try; `token` is this try's own."""

    id: str
    token: str


@dataclass(frozen=True)
class Stored:
    """The answer that was given."""

    status: int
    body: str


def begin(request: Request) -> Try | Stored:
    """Take the key, or find the answer it has. Raises `KeyReused` or `InFlight`. A unit of work of its own, please."""
    token = str(uuid.uuid4())
    values = {
        "id": new_id("idem"),
        "team_id": request.team_id,
        "key": request.key,
        "call": request.call,
        "request_hash": request.hash,
        "state": "in_flight",
        "lease_token": token,
        "lease_until": _lease_end(),
    }
    new = insert(IdempotencyKey).values(**values).on_conflict_do_nothing().returning(IdempotencyKey.id)
    row_id = db.session.execute(new).scalar()
    if row_id is not None:
        return Try(row_id, token)
    found = _find(request)
    if found is None:  # given back between the two statements
        raise InFlight(1)
    if found.request_hash != request.hash:
        raise KeyReused
    if found.state == "done":
        return Stored(found.status, found.body)
    if found.seconds_left > 0:
        raise InFlight(max(1, min(found.seconds_left, 5)))
    db.session.execute(
        update(IdempotencyKey).where(IdempotencyKey.id == found.id).values(lease_token=token, lease_until=_lease_end())
    )
    return Try(found.id, token)


def finish(attempt: Try, status: int, body: str) -> bool:
    """Keep the answer; False when another try has taken over meanwhile."""
    values = {"state": "done", "status": status, "body": body, "lease_token": None, "lease_until": None}
    done = update(IdempotencyKey).where(_mine(attempt)).values(**values).returning(IdempotencyKey.id)
    return db.session.execute(done).scalar() is not None


def forget(attempt: Try) -> None:
    """Give the key back: the request was refused and had no effect, so that the key stands for nothing yet."""
    db.session.execute(delete(IdempotencyKey).where(_mine(attempt)))


def give_up(attempt: Try) -> None:
    """End the lease: what this try has done is not known, and the next one has to go on under the same id."""
    db.session.execute(update(IdempotencyKey).where(_mine(attempt)).values(lease_until=func.now()))


def sweep() -> int:
    """Forget the oldest keys, `SWEEP_MAX` at a time; returns how many."""
    old = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.created_at < app_now() - cast(literal(KEPT_FOR), Interval))
        .order_by(IdempotencyKey.created_at)
        .limit(SWEEP_MAX)
    )
    gone = delete(IdempotencyKey).where(IdempotencyKey.id.in_(old.scalar_subquery())).returning(IdempotencyKey.id)
    return len(db.session.execute(gone).all())


def _find(request: Request) -> Row[Any] | None:
    """The key's row, locked: of two that find a lease that is over, one takes it."""
    left = func.ceil(func.extract("epoch", IdempotencyKey.lease_until - func.clock_timestamp()))
    query = select(
        IdempotencyKey.id,
        IdempotencyKey.request_hash,
        IdempotencyKey.state,
        IdempotencyKey.status,
        IdempotencyKey.body,
        left.label("seconds_left"),
    )
    mine = (IdempotencyKey.team_id == request.team_id) & (IdempotencyKey.key == request.key)
    return db.session.execute(query.where(mine).with_for_update()).one_or_none()


def _lease_end() -> Any:
    return func.clock_timestamp() + cast(literal(LEASE), Interval)


def _mine(attempt: Try) -> Any:
    return (IdempotencyKey.id == attempt.id) & (IdempotencyKey.lease_token == attempt.token)
