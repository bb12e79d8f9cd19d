"""Work that stands in a row and is carried out by a worker: taken under a lease, and written only while it is held.

A row that takes part has `state`, `attempts`, `run_at`, `first_sent_at` and the columns of `Leased`. Its open states are
`OPEN_STATES` unless whoever claims it names others.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import ColumnElement, func, select, update

from portal.core import liveness
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.stopping import stopping
from portal.core.unit_of_work import end_read, unit_of_work

log = structlog.get_logger(__name__)

# A row in one of these states is not finished, and holds the place of its kind.
OPEN_STATES = ("pending", "sending", "unknown", "requires_action")
# More than twice what the calls of one try can take together.
LEASE = timedelta(seconds=300)
PAUSE_SECONDS_MAX = 3600
# After so many tries a person should look; it is tried on, ever more rarely.
ATTEMPTS_WORRYING = 12

Row = TypeVar("Row", bound=Any)
Work = TypeVar("Work")


class LeaseLost(Exception):
    """Another worker took the row over; whatever this one has done must be rolled back."""


def drain(claim: Callable[[], Work | None], carry_out: Callable[[Work], object], at_most: int) -> int:
    """Carry out work until none is due, `at_most` pieces were tried, or this process is to end; returns how many."""
    tried = 0
    while tried != at_most and not stopping() and (work := claim()) is not None:
        carry_out(work)
        tried += 1
    return tried


@contextmanager
def one_try(row: Any, token: str, *, failed: str, stuck: str | None = None) -> Iterator[None]:
    """The net around one try. It never raises for what becomes of it, since others wait behind it.

    What breaks is logged as `failed` and tried again later; after `ATTEMPTS_WORRYING` tries it raises the alarm `stuck`.
    """
    name = f"{type(row).__tablename__}_id"
    structlog.contextvars.bind_contextvars(**{name: row.id})
    try:
        yield
    except LeaseLost:
        log.warning("lease_lost")
    except Exception as error:
        db.session.rollback()
        log.warning(failed, attempt=row.attempts, exc_info=error)
        _try_later(row, token, stuck)
    finally:
        structlog.contextvars.unbind_contextvars(name)


def _try_later(row: Any, token: str, stuck: str | None) -> None:
    try:
        with unit_of_work():
            if stuck is not None and row.attempts == ATTEMPTS_WORRYING:
                raise_alarm(stuck, row.id, attempts=row.attempts)
            release(row, token, run_at=after(row.attempts))
    except LeaseLost:
        log.warning("lease_lost")


def claim(
    model: type[Row], open_states: Sequence[str] = OPEN_STATES, *only: ColumnElement[bool]
) -> tuple[Row, str] | None:
    """Lease the row that is due longest, also one whose worker died, with its token; None when nothing is due.

    `only` are further conditions that it has to meet.
    """
    with unit_of_work() as session:
        row = session.execute(
            select(model)
            .where(
                model.state.in_(open_states),
                model.run_at <= app_now(),
                *only,
                model.lease_until.is_(None) | (model.lease_until < func.now()) | liveness.is_dead(model.lease_holder),
            )
            .order_by(model.run_at, model.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        ).scalar_one_or_none()
        if row is None:
            return None
        token = str(uuid.uuid4())
        row.lease_until, row.lease_token, row.lease_holder = func.now() + LEASE, token, liveness.holder()
        row.attempts += 1
        session.flush()
        session.refresh(row)
    return row, token


def note_sending(row: Any, token: str, state: str = "sending") -> None:
    """Commit that Stripe is about to be asked: from here on its answer is what counts, and it is looked for."""
    with unit_of_work():
        _write(row, token, state=state, first_sent_at=func.coalesce(type(row).first_sent_at, app_now()))


def keep(row: Any, token: str, **values: Any) -> None:
    """Write, in the current unit, what is known by now, and go on under the lease. Raises `LeaseLost`."""
    _write(row, token, **values)


def was_sent(row: Any) -> bool:
    """Whether Stripe may have been asked, as it stands now: this try may have got so far, or an earlier one."""
    db.session.refresh(row)
    sent = row.first_sent_at is not None
    end_read()
    return sent


def release(row: Any, token: str, **values: Any) -> None:
    """Record the outcome in the current unit and end the lease. Raises `LeaseLost`."""
    _write(row, token, lease_until=None, lease_token=None, lease_holder=None, **values)


def after(attempts: int) -> Any:
    """When to try again, as SQL: 2, 4, 8 … seconds from now."""
    return app_now() + timedelta(seconds=min(PAUSE_SECONDS_MAX, 2 ** min(attempts, 12)))


def _write(row: Any, token: str, **values: Any) -> None:
    model = type(row)
    ours = (model.id == row.id) & (model.lease_token == token)
    written = update(model).where(ours).values(**values).returning(model.id)
    if db.session.execute(written, execution_options={"synchronize_session": False}).scalar() is None:
        raise LeaseLost(row.id)
