"""Reads of what can be metered."""

from __future__ import annotations

from sqlalchemy import select

from portal.catalog.models import Meter
from portal.core.database import db


def credit_meters() -> list[str]:
    """The names of the meters whose use takes credits, in the catalog's order."""
    query = select(Meter.key).where(Meter.mode == "credits", Meter.archived_at.is_(None))
    return list(db.session.execute(query.order_by(Meter.position, Meter.key)).scalars())
