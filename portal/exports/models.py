"""Exports and the parts of their files. Files stand in the database, since any web process may be asked for one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

OPEN = "state in ('waiting', 'running')"


class Export(Model):
    """One file that somebody asked for. `cursor` is the last row that is written; a team has one open at a time.

    The file is its parts one after another once the state is `done`, and not before.
    """

    __tablename__ = "exports"
    __table_args__ = (
        CheckConstraint("format in ('csv', 'xlsx')", name="format"),
        CheckConstraint("state in ('waiting', 'running', 'done', 'failed')", name="state"),
        CheckConstraint(f"(finished_at is null) = ({OPEN})", name="finished_at"),
        CheckConstraint("(state = 'done') = (size_bytes is not null)", name="size_bytes"),
        CheckConstraint("(state = 'failed') = (failure is not null)", name="failure"),
        CheckConstraint("state not in ('running', 'done') or rows_total is not null", name="rows_total"),
        CheckConstraint("rows_done >= 0 and attempts >= 0", name="counts"),
        Index("uq_exports_one_open", "team_id", unique=True, postgresql_where=text(OPEN)),
        Index("ix_exports_team_id", "team_id", "created_at", "id"),
        Index("ix_exports_due", "run_at", postgresql_where=text(OPEN)),
        Index("ix_exports_expires_at", "expires_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    source: Mapped[str]
    format: Mapped[str]
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    time_zone: Mapped[str]
    state: Mapped[str]
    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    rows_done: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    cursor: Mapped[str | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    failure: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    finished_at: Mapped[UtcDateTime | None]
    expires_at: Mapped[UtcDateTime]


class ExportPart(Model):
    """While an export runs, the rows of one step; of a file that is done, one piece of it."""

    __tablename__ = "export_parts"
    __table_args__ = (CheckConstraint("number >= 0", name="number"),)

    export_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)
