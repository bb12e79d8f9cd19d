"""Lists page by page, newest first. A page begins at a row, not at a number, so that what is added meanwhile shifts none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import abort
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from portal.core.database import Model, db

ROWS = 25

M = TypeVar("M", bound=Model)


def count_rows(query: Select[Any], at_most: int | None = None) -> int:
    """How many rows there are. Whoever minds only whether there are more than so many need not have all of them read."""
    rows = query.order_by(None).limit(at_most).subquery()
    return db.session.execute(select(func.count()).select_from(rows)).scalar_one()


@dataclass(frozen=True)
class Page(Generic[M]):
    """`first` counts from 1; `newer` and `older` are the rows from which to go on, None where there is nothing more."""

    rows: list[M]
    first: int
    total: int
    newer: str | None
    older: str | None

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


@dataclass(frozen=True)
class Listing(Generic[M]):
    """All rows of one team, or of one person, that a filter lets through. `at` is the moment they are ordered by, their id
    decides ties.
    """

    model: type[M]
    at: InstrumentedAttribute[Any]
    query: Select[M]
    team_id: str | None = None
    user_id: str | None = None

    def page(self, before: str | None, after: str | None) -> Page[M]:
        """The page of rows older than `before`, or newer than `after`, or the newest. 400 for a row that is not there."""
        place = self._place(before or after)
        if before is None and after is not None:
            rows = self._read(self.query.where(self._key > place).order_by(self.at, self._id).limit(ROWS))[::-1]
        else:
            older = self.query.where(self._key < place) if before else self.query
            rows = self._read(older.order_by(self.at.desc(), self._id.desc()).limit(ROWS))
        total = self.count()
        if not rows:
            return Page([], 1, total, None, None)
        first = count_rows(self.query.where(self._key > self._key_of(rows[0]))) + 1
        more = first + len(rows) <= total
        return Page(
            rows, first, total, self._ref(rows[0]) if first > 1 else None, self._ref(rows[-1]) if more else None
        )

    def part(self, after: str | None, limit: int) -> list[M]:
        """The `limit` rows that follow the row `after`, newest first, for whoever reads all of them part by part."""
        query = self.query.where(self._key < self._place(after)) if after else self.query
        return self._read(query.order_by(self.at.desc(), self._id.desc()).limit(limit))

    def count(self, at_most: int | None = None) -> int:
        return count_rows(self.query, at_most)

    @property
    def _id(self) -> Any:
        entity: Any = self.model
        return entity.id

    @property
    def _key(self) -> Any:
        return tuple_(self.at, self._id)

    def _key_of(self, row: M) -> Any:
        return tuple_(getattr(row, self.at.key), self._ref(row))

    def _ref(self, row: M) -> str:
        entity: Any = row
        return str(entity.id)

    def _place(self, row_id: str | None) -> Any:
        if row_id is None:
            return None
        entity: Any = self.model
        owned = entity.team_id == self.team_id if self.team_id else entity.user_id == self.user_id
        mine = (self._id == row_id.replace("\x00", "")) & owned
        found = db.session.execute(select(self.at, self._id).where(mine)).one_or_none()
        if found is None:
            abort(400)
        return tuple_(*found)

    def _read(self, query: Select[M]) -> list[M]:
        return list(db.session.execute(query).scalars())
