"""The uses one by one, newest first, in pages that begin after a use and not at a number.

How many there are is never counted here. The daily totals say how far back a page has to look, so that one that is narrowed
to a rare meter reads its days and not the whole history.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Select, select, tuple_

from portal.core.database import db
from portal.usage.figures import Narrowed, enough_since
from portal.usage.models import UsageEvent
from portal.usage.names import api_key_names, member_names, meter_names

ROWS = 25
CURSOR = re.compile(r"(\d{1,17})-([0-9A-Za-z_]{1,40})")


@dataclass(frozen=True)
class EventRow:
    event: UsageEvent
    meter: str
    api_key: str
    member: str


@dataclass(frozen=True)
class EventPage:
    """`older` is where to go on, None after the last one; `first` whether it begins with the newest."""

    rows: list[EventRow]
    older: str | None
    first: bool


def events_within(team_id: str, since: datetime, until: datetime, narrowed: Narrowed) -> Select[UsageEvent]:
    """The team's uses of a time, in no order yet."""
    query = select(UsageEvent).where(
        UsageEvent.team_id == team_id, UsageEvent.occurred_at >= since, UsageEvent.occurred_at < until
    )
    if narrowed.meter is not None:
        query = query.where(UsageEvent.meter == narrowed.meter)
    if narrowed.api_key_id is not None:
        query = query.where(UsageEvent.api_key_id == (narrowed.api_key_id or None))
    if narrowed.user_id is not None:
        query = query.where(UsageEvent.user_id == (narrowed.user_id or None))
    return query


def event_page(team_id: str, since: datetime, until: datetime, narrowed: Narrowed, before: str | None) -> EventPage:
    """The page of uses older than `before`, or the newest. A `before` that nobody was given is as good as none."""
    place = place_of(before)
    last_day = min(until, _day_of(place[0])) if place else until
    begin = enough_since(team_id, since, last_day, narrowed, ROWS + 1) or last_day
    query = events_within(team_id, max(since, begin) if last_day > since else since, until, narrowed)
    if place:
        query = query.where(tuple_(UsageEvent.occurred_at, UsageEvent.id) < tuple_(*place))
    found = db.session.execute(
        query.order_by(UsageEvent.occurred_at.desc(), UsageEvent.id.desc()).limit(ROWS + 1)
    ).scalars()
    events = list(found)
    shown = events[:ROWS]
    older = cursor_of(shown[-1]) if len(events) > ROWS else None
    return EventPage(rows_of(team_id, shown), older, place is None)


def rows_of(team_id: str, events: Sequence[UsageEvent]) -> list[EventRow]:
    meters = meter_names({event.meter for event in events})
    keys = api_key_names(team_id, {event.api_key_id or "" for event in events})
    members = member_names({event.user_id or "" for event in events})
    return [
        EventRow(event, meters[event.meter].name, keys[event.api_key_id or ""], members[event.user_id or ""])
        for event in events
    ]


def cursor_of(event: UsageEvent) -> str:
    return f"{_micros(event.occurred_at)}-{event.id}"


def place_of(cursor: str | None) -> tuple[datetime, str] | None:
    """Where a cursor stands; None for anything that is none."""
    found = CURSOR.fullmatch(cursor or "")
    if found is None:
        return None
    seconds, micros = divmod(int(found[1]), 1_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros), found[2]
    except (OverflowError, ValueError, OSError):
        return None


def _micros(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def use_reported_as(team_id: str, key: str | None) -> EventRow | None:
    """The use that was reported under a key; None when there was none, or when it is too long ago to be kept."""
    if key is None:
        return None
    query = select(UsageEvent).where(UsageEvent.team_id == team_id, UsageEvent.key == key)
    event = db.session.execute(query.limit(1)).scalar()
    return rows_of(team_id, [event])[0] if event is not None else None
