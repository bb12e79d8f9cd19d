"""What is told: the entries of people's inboxes, what they have switched off, and the outbox of mails."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id


class Notification(Model):
    """One entry of a person's inbox. The same `fact` is told to a person once; whoever may not see the team sees it not.

    `link` is a path of ours or an address of Stripe's; what is dismissed stays as history and counts as read.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("user_id", "fact"),
        CheckConstraint("severity in ('info', 'success', 'warning', 'danger')", name="severity"),
        CheckConstraint("dismissed_at is null or read_at is not null", name="dismissed_at"),
        Index("ix_notifications_of_person", "user_id", "created_at", "id"),
        Index("ix_notifications_unread", "user_id", postgresql_where=text("read_at is null")),
        Index("ix_notifications_created_at", "created_at"),
    )

    id: Mapped[PrimaryId]
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    team_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    kind: Mapped[str]
    fact: Mapped[str]
    severity: Mapped[str]
    title: Mapped[str]
    words: Mapped[str]
    link: Mapped[str]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    read_at: Mapped[UtcDateTime | None]
    dismissed_at: Mapped[UtcDateTime | None]


class NotificationPreference(Model):
    """What a person chose for one kind and one way of telling; without a row the kind's own default holds."""

    __tablename__ = "notification_preferences"
    __table_args__ = (CheckConstraint("channel in ('mail', 'inbox')", name="channel"),)

    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    wanted: Mapped[bool]
    changed_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


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
