"""Reads of what can be metered, and of what was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select

from portal.catalog.models import Meter
from portal.core.database import db
from portal.usage.models import UsageEvent


@dataclass(frozen=True)
class Total:
    """What was used of a meter within a time, and the credits that took."""

    quantity: int
    cost: int


def credit_meters() -> list[str]:
    """The names of the meters whose use takes credits, in the catalog's order."""
    query = select(Meter.key).where(Meter.mode == "credits", Meter.archived_at.is_(None))
    return list(db.session.execute(query.order_by(Meter.position, Meter.key)).scalars())


def totals(team_id: str, since: datetime, until: datetime) -> dict[str, Total]:
    """By meter: the team's use from `since` until just before `until`. What was not used has no line."""
    query = (
        select(UsageEvent.meter, func.sum(UsageEvent.quantity), func.sum(UsageEvent.cost))
        .where(UsageEvent.team_id == team_id, UsageEvent.occurred_at >= since, UsageEvent.occurred_at < until)
        .group_by(UsageEvent.meter)
    )
    return {meter: Total(int(quantity), int(cost)) for meter, quantity, cost in db.session.execute(query)}


def events(
    team_id: str, *, meter: str | None = None, since: datetime | None = None, until: datetime | None = None
) -> Select[UsageEvent]:
    """The team's reports of use within a time, all or of one meter; in no order yet."""
    query = select(UsageEvent).where(UsageEvent.team_id == team_id)
    if meter is not None:
        query = query.where(UsageEvent.meter == meter)
    if since is not None:
        query = query.where(UsageEvent.occurred_at >= since)
    if until is not None:
        query = query.where(UsageEvent.occurred_at < until)
    return query
