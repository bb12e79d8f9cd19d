"""Taking a change that somebody agreed to under a lease, and recording what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from portal.billing import leased_work
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.leased_work import after
from portal.core.unit_of_work import unit_of_work

__all__ = ["Work", "after", "claim", "note_sending", "release"]


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
    found = leased_work.claim(PendingChange)
    if found is None:
        return None
    change, token = found
    with unit_of_work() as session:
        preview = session.execute(select(ChangePreview).where(ChangePreview.id == change.preview_id)).scalar_one()
    return Work(change, preview, token)


def note_sending(work: Work) -> None:
    leased_work.note_sending(work.change, work.token)


def release(work: Work, **values: Any) -> None:
    """Record the outcome in the current unit and end the lease. Raises `LeaseLost`."""
    leased_work.release(work.change, work.token, **values)
