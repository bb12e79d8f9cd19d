"""The inbox: one row per event id, whatever happens to it later."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

WAITING = ("pending", "parked")
# The same for a query, in the words of the index.
IS_WAITING = text("state in ('pending', 'parked')")


class StripeEvent(Model):
    """`held`: billing was switched off when it came. `parked`: something it needs is not here yet. `ignored`: a type we do not apply. `dead`: a person must look."""

    __tablename__ = "stripe_events"
    __table_args__ = (
        CheckConstraint("state in ('pending', 'held', 'parked', 'ignored', 'done', 'dead')", name="state"),
        Index("ix_stripe_events_due", "run_at", postgresql_where=IS_WAITING),
        Index("ix_stripe_events_held", "run_at", "id", postgresql_where=text("state = 'held'")),
        Index("ix_stripe_events_object_id", "object_id"),
    )

    id: Mapped[PrimaryId]
    event_id: Mapped[str] = mapped_column(PrefixedId, unique=True)
    type: Mapped[str]
    object_id: Mapped[str | None]
    # A thin event names the snapshot event that tells the same.
    snapshot_event_id: Mapped[str | None]
    api_version: Mapped[str | None]
    livemode: Mapped[bool]
    created_at: Mapped[UtcDateTime | None]
    body: Mapped[bytes]
    received_at: Mapped[UtcDateTime] = mapped_column(server_default=text("now()"))
    # When an event that was held came to wait like any other; its time of grace begins anew.
    released_at: Mapped[UtcDateTime | None]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    lease_holder: Mapped[int | None]
    finished_at: Mapped[UtcDateTime | None]
    last_error: Mapped[str | None]
