"""One time for all processes: the database's time plus an offset that only development and tests may set.

Every due, expiry and period decision uses it, in SQL as `app_now()`. Webhook signatures and leases use real time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy import CheckConstraint, DateTime, Interval, func, select, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.functions import Function

from portal.core.database import Model, db

# `app_now()` written out, for plain statements on hot paths: PostgreSQL sets up a call of a function in SQL anew for
# every statement, which takes about as long as inserting a row.
APP_NOW = "(statement_timestamp() + coalesce((select ahead_by from clock_offset), interval '0'))"


class ClockError(RuntimeError):
    """Somebody tried to move the clock of a production instance."""


class ClockOffset(Model):
    """At most one row: how far `app_now()` runs ahead of the database's own time."""

    __tablename__ = "clock_offset"
    __table_args__ = (CheckConstraint("one_row", name="one_row"),)

    one_row: Mapped[bool] = mapped_column(primary_key=True, default=True)
    ahead_by: Mapped[timedelta] = mapped_column(Interval, nullable=False)


def app_now() -> Function[datetime]:
    """The SQL expression for now; one statement sees one instant."""
    return func.app_now(type_=DateTime(timezone=True))


def now() -> datetime:
    """The current instant (aware, UTC), read from the database."""
    return db.session.execute(select(app_now())).scalar_one()


def offset() -> timedelta:
    return db.session.execute(select(ClockOffset.ahead_by)).scalar() or timedelta()


def advance(by: timedelta) -> None:
    """Move the clock (inside a unit of work). Raises `ClockError` in production."""
    if current_app.config["SETTINGS"].production:
        raise ClockError("the clock of a production instance cannot be moved")
    db.session.execute(
        text(
            "insert into clock_offset (one_row, ahead_by) values (true, :by)"
            " on conflict (one_row) do update set ahead_by = clock_offset.ahead_by + excluded.ahead_by"
        ),
        {"by": by},
    )
