"""Alarms: what a person must look at. One row per thing, raised once however often it is noticed."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrimaryId, UtcDateTime, db
from portal.core.ids import new_id

log = structlog.get_logger(__name__)


class Alarm(Model):
    __tablename__ = "alarms"
    __table_args__ = (
        Index("uq_alarms_open", "kind", "subject", unique=True, postgresql_where=text("resolved_at is null")),
    )

    id: Mapped[PrimaryId]
    kind: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    raised_at: Mapped[UtcDateTime]
    resolved_at: Mapped[UtcDateTime | None]
    resolution: Mapped[str | None]


def raise_alarm(kind: str, subject: str, **detail: Any) -> None:
    """Record an alarm in the current unit of work and log it; while one of its kind and subject is open, a no-op."""
    values = {"id": new_id("alarm"), "kind": kind, "subject": subject, "detail": detail, "raised_at": app_now()}
    statement = (
        insert(Alarm)
        .values(values)
        .on_conflict_do_nothing(index_elements=["kind", "subject"], index_where=Alarm.resolved_at.is_(None))
    )
    if db.session.execute(statement.returning(Alarm.id)).scalar() is not None:
        log.error("alarm", kind=kind, subject=subject, **detail)
