"""What waits in the inbox, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from portal.core.database import db
from portal.webhooks.models import StripeEvent


@dataclass(frozen=True)
class Waiting:
    """Events that are still to be applied, by state, and how long the oldest pending one has been."""

    pending: int
    parked: int
    held: int
    lag_seconds: float


def waiting() -> Waiting:
    """Parked events wait for something that may never come, and held ones for a person: neither is a lag of ours.

    One count a state, since each has an index that holds only those.
    """
    since = func.min(func.coalesce(StripeEvent.released_at, StripeEvent.received_at))
    lag = select(func.coalesce(func.extract("epoch", func.now() - since), 0)).where(StripeEvent.state == "pending")
    query = select(
        _count(StripeEvent.state == "pending"),
        _count(StripeEvent.state == "parked"),
        _count(StripeEvent.state == "held"),
        lag.scalar_subquery(),
    )
    pending, parked, held, seconds = db.session.execute(query).one()
    return Waiting(pending, parked, held, float(seconds))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).select_from(StripeEvent).where(condition).scalar_subquery()
