"""The one way to load a team's row: by the team and the id together, so that another team's row does not exist."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import abort
from sqlalchemy import select

from portal.core.database import Model, db

M = TypeVar("M", bound=Model)


def load_for(team_id: str, model: type[M], row_id: str) -> M:
    """The team's row with this id; 404 when it is unknown or another team's (the two look the same)."""
    entity: Any = model
    row = db.session.execute(select(model).where(entity.id == row_id, entity.team_id == team_id)).scalar_one_or_none()
    if row is None:
        abort(404)
    return row
