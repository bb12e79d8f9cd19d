"""Taking a change that somebody agreed to under a lease, and recording what became of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from portal.billing.change_models import OPEN_STATES, ChangePreview, PendingChange
from portal.core import liveness
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work

# More than twice what the calls of one try can take together.
LEASE = timedelta(seconds=300)
PAUSE_SECONDS_MAX = 3600


class LeaseLost(Exception):
    """Another worker took the change over; whatever this one has done must be rolled back."""


@dataclass(frozen=True)
class Work:
    """A change under our lease, with the preview that it carries out."""

    change: PendingChange
    preview: ChangePreview
    token: str

    @property
    def sent_before(self) -> bool:
        """Whether Stripe may have been asked already."""
        return self.change.first_sent_at is not None


def claim() -> Work | None:
    """Lease the change that is due longest, also one whose worker died; None when nothing is due."""
    with unit_of_work() as session:
        change = session.execute(
            select(PendingChange)
            .where(
                PendingChange.state.in_(OPEN_STATES),
                PendingChange.run_at <= app_now(),
                PendingChange.lease_until.is_(None)
                | (PendingChange.lease_until < func.now())
                | liveness.is_dead(PendingChange.lease_holder),
            )
            .order_by(PendingChange.run_at, PendingChange.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        ).scalar_one_or_none()
        if change is None:
            return None
        token = str(uuid.uuid4())
        change.lease_until, change.lease_token, change.lease_holder = func.now() + LEASE, token, liveness.holder()
        change.attempts += 1
        session.flush()
        session.refresh(change)
        preview = session.execute(select(ChangePreview).where(ChangePreview.id == change.preview_id)).scalar_one()
    return Work(change, preview, token)


def note_sending(work: Work) -> None:
    """Commit that Stripe is about to be asked: from here on its answer is what counts, and it is looked for."""
    first = func.coalesce(PendingChange.first_sent_at, app_now())
    with unit_of_work():
        _write(work, state="sending", first_sent_at=first)


def release(work: Work, **values: Any) -> None:
    """Record the outcome in the current unit and end the lease. Raises `LeaseLost`."""
    _write(work, lease_until=None, lease_token=None, lease_holder=None, **values)


def after(attempts: int) -> Any:
    """When to try again, as SQL: 2, 4, 8 … seconds from now."""
    return app_now() + timedelta(seconds=min(PAUSE_SECONDS_MAX, 2 ** min(attempts, 12)))


def _write(work: Work, **values: Any) -> None:
    ours = (PendingChange.id == work.change.id) & (PendingChange.lease_token == work.token)
    written = update(PendingChange).where(ours).values(**values).returning(PendingChange.id)
    if db.session.execute(written, execution_options={"synchronize_session": False}).scalar() is None:
        raise LeaseLost(work.change.id)
