"""The last value of what is too dear to be measured when it is asked for, and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import BigInteger, Interval, cast, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, UtcDateTime, db


class StoredReading(Model):
    __tablename__ = "readings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
    taken_at: Mapped[UtcDateTime]


@dataclass(frozen=True)
class Reading:
    value: int
    age: timedelta


def take(name: str, value: int) -> None:
    """Keep a value in the current unit of work; it replaces the one before."""
    values = {"value": value, "taken_at": app_now()}
    statement = insert(StoredReading).values(name=name, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def last(name: str) -> Reading | None:
    query = select(StoredReading.value, cast(app_now() - StoredReading.taken_at, Interval))
    row = db.session.execute(query.where(StoredReading.name == name)).one_or_none()
    return Reading(*row) if row else None
