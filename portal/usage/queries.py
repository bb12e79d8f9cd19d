"""Reads of what can be metered, and of what was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select

from portal.catalog.models import Meter
from portal.core.database import db
from portal.usage.models import UsageDay, UsageEvent
from portal.usage.periods import usage_month

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Total:
    """What was used of a meter within a time, and the credits that took."""

    quantity: int
    cost: int


def credit_meters() -> list[str]:
    """The names of the meters whose use takes credits, in the catalog's order."""
    query = select(Meter.key).where(Meter.mode == "credits", Meter.archived_at.is_(None))
    return list(db.session.execute(query.order_by(Meter.position, Meter.key)).scalars())


def meter_names() -> list[str]:
    """The names of the meters, in the catalog's order."""
    query = select(Meter.key).where(Meter.archived_at.is_(None))
    return list(db.session.execute(query.order_by(Meter.position, Meter.key)).scalars())


def totals(team_id: str, since: datetime, until: datetime) -> dict[str, Total]:
    """By meter: the team's use from `since` until just before `until`. What was not used has no line.

    It reads the daily totals: exact from the start of a month of use until its end, and for whole days in UTC. A day that
    one of the two moments lies within counts whole.
    """
    first = counted_since(team_id, since)
    query = (
        select(UsageDay.meter, func.sum(UsageDay.quantity), func.sum(UsageDay.cost))
        .where(UsageDay.team_id == team_id, UsageDay.starts_at >= first, UsageDay.starts_at < until)
        .group_by(UsageDay.meter)
    )
    return {meter: Total(int(quantity), int(cost)) for meter, quantity, cost in db.session.execute(query)}


def counted_since(team_id: str, moment: datetime) -> datetime:
    """When the daily total began that the moment lies within, where that was before it: what is in it cannot be told apart."""
    begun = select(func.max(UsageDay.starts_at)).where(
        UsageDay.team_id == team_id, UsageDay.starts_at >= _day_of(moment), UsageDay.starts_at <= moment
    )
    return db.session.execute(begun).scalar() or moment


def counted_until(team_id: str, moment: datetime) -> datetime:
    """When the daily total ends that is the last to begin before the moment, where that is after it: it is counted whole."""
    day = _day_of(moment - INSTANT)
    tomorrow, starts = day + timedelta(days=1), UsageDay.starts_at
    found: Any = db.session.execute(
        select(func.max(starts).filter(starts < moment), func.min(starts).filter(starts >= moment)).where(
            UsageDay.team_id == team_id, starts >= day, starts < tomorrow
        )
    ).one()
    last, following = found
    if last is None:
        return moment
    return max(moment, min(tomorrow, usage_month(team_id, last)[1], following or tomorrow))


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


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
