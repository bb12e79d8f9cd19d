"""Alarms: what a person must look at. One row per thing, raised once however often it is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Index, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrimaryId, UtcDateTime, db
from portal.core.ids import new_id

log = structlog.get_logger(__name__)

RESOLUTION_CHARACTERS_MAX = 500


class Alarm(Model):
    """Open until somebody resolves it and says how; the same thing noticed after that is a new alarm."""

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
    mailed_at: Mapped[UtcDateTime | None]


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


def resolve(alarm_id: str, resolution: str) -> Alarm | None:
    """Close an open alarm in the current unit; `None` when there is no open one with this id."""
    alarm = db.session.execute(
        update(Alarm)
        .where(Alarm.id == alarm_id, Alarm.resolved_at.is_(None))
        .values(resolved_at=app_now(), resolution=resolution[:RESOLUTION_CHARACTERS_MAX])
        .returning(Alarm)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalar_one_or_none()
    if alarm is not None:
        log.info("alarm_resolved", kind=alarm.kind, subject=alarm.subject)
    return alarm


def keep_up(kind: str, noticed: Mapping[str, Mapping[str, Any]]) -> None:
    """For a condition that comes and goes: raise its alarm for each subject, close those it no longer holds for."""
    for subject, detail in noticed.items():
        raise_alarm(kind, subject, **detail)
    passed = select(Alarm.id).where(
        Alarm.kind == kind, Alarm.resolved_at.is_(None), Alarm.subject.not_in(list(noticed))
    )
    for alarm_id in db.session.execute(passed).scalars().all():
        resolve(alarm_id, "no longer the case")


def open_alarms() -> list[Alarm]:
    """Oldest first."""
    query = select(Alarm).where(Alarm.resolved_at.is_(None)).order_by(Alarm.id)
    return list(db.session.execute(query).scalars())


def open_by_kind() -> dict[str, int]:
    query = select(Alarm.kind, func.count().label("open")).where(Alarm.resolved_at.is_(None)).group_by(Alarm.kind)
    return {row.kind: row.open for row in db.session.execute(query)}


def take_unmailed(at_most: int) -> list[Alarm]:
    """The oldest open alarms that nobody was told of, marked as told in the current unit."""
    oldest = (
        select(Alarm.id)
        .where(Alarm.resolved_at.is_(None), Alarm.mailed_at.is_(None))
        .order_by(Alarm.id)
        .limit(at_most)
        .with_for_update(skip_locked=True)
    )
    found = db.session.execute(
        update(Alarm)
        .where(Alarm.id.in_(oldest.scalar_subquery()))
        .values(mailed_at=app_now())
        .returning(Alarm)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalars()
    return sorted(found, key=lambda alarm: alarm.id)
