"""The outbox: what must leave this house because something was saved, saved along with it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrimaryId, UtcDateTime
from portal.core.ids import new_id


class OutboxItem(Model):
    """One mail. `dedupe_key` makes saving it twice a no-op; the lease lets a dead worker's item be taken over."""

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("state in ('pending', 'done', 'dead')", name="state"),
        Index("ix_outbox_due", "run_at", postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[PrimaryId]
    topic: Mapped[str]
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    lease_holder: Mapped[int | None]
    last_error: Mapped[str | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("mail"))
        super().__init__(**values)
