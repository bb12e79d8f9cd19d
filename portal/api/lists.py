"""Lists in pages: newest first, by the moment and then the id, so that rows that come meanwhile move nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import request
from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from portal.core.database import db
from portal.core.errors import ApiError

CURSORS = ("starting_after", "ending_before")


@dataclass(frozen=True)
class Rows:
    """A team's rows of a kind, and the column that says when each came to be."""

    team_id: str
    model: Any
    moment: InstrumentedAttribute[datetime]


def page(rows: Rows, query: Select[Any], asked: dict[str, Any], row: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The page of `query` that was `asked` for, each row told by `row`. Raises `ApiError` 400 for a wrong cursor."""
    limit, found = asked["limit"], []
    backwards = "ending_before" in asked
    place = tuple_(rows.moment, rows.model.id)
    for name in CURSORS:
        if name in asked:
            here = tuple_(literal(_moment_of(rows, name, asked[name])), literal(asked[name]))
            query = query.where(place > here if backwards else place < here)
    order = (column.asc() if backwards else column.desc() for column in (rows.moment, rows.model.id))
    found = list(db.session.execute(query.order_by(*order).limit(limit + 1)).scalars())
    shown = found[:limit]
    if backwards:
        shown.reverse()
    return {
        "object": "list",
        "url": request.path,
        "has_more": len(found) > limit,
        "data": [row(one) for one in shown],
    }


def _moment_of(rows: Rows, name: str, cursor: str) -> datetime:
    """Where the cursor stands. Another team's row is no row of this list, nor is anything made up."""
    found = None
    if cursor.isascii() and cursor.isprintable():
        query = select(rows.moment).where(rows.model.team_id == rows.team_id, rows.model.id == cursor)
        found = db.session.execute(query).scalar()
    if found is None:
        message = f"{name}: there is no such row in this list."
        raise ApiError(400, "invalid_request_error", "invalid_cursor", message, param=name)
    return found
