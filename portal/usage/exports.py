"""The single uses as a file, narrowed as the usage page is: to whole days in UTC, or from `begin` until just before `end`,
as a month of the plan has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, tuple_

from portal.billing.list_filters import read_filters
from portal.core.authz import Action
from portal.core.database import db
from portal.core.exporting import Export, Part, Wanted, columns, read_instant
from portal.core.pagination import count_rows
from portal.usage.event_list import EventRow, cursor_of, events_within, place_of, rows_of
from portal.usage.figures import Narrowed
from portal.usage.models import UsageEvent
from portal.usage.narrowing import read_narrowed

HEADER = ("Time", "Key of the report", "Feature", "API key", "Member", "Units", "Credits", "Use")
FIRST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Events:
    team_id: str
    query: Select[Any]

    def count(self, at_most: int) -> int:
        return count_rows(self.query, at_most)

    def part(self, after: str | None, limit: int) -> Part:
        place = place_of(after)
        older = (
            self.query.where(tuple_(UsageEvent.occurred_at, UsageEvent.id) < tuple_(*place)) if place else self.query
        )
        newest_first = older.order_by(UsageEvent.occurred_at.desc(), UsageEvent.id.desc()).limit(limit)
        found = list(db.session.execute(newest_first).scalars())
        last = cursor_of(found[-1]) if len(found) == limit else None
        return Part([_line(row) for row in rows_of(self.team_id, found)], last)


def _events(wanted: Wanted) -> _Events:
    narrowed: Narrowed = read_narrowed(wanted.arguments)
    days = read_filters({name: wanted.arguments.get(name, "") for name in ("since", "until")}, "UTC")
    begins = (days.span[0], read_instant(wanted.arguments, "begin"), FIRST)
    ends = (days.span[1], read_instant(wanted.arguments, "end"), wanted.until + timedelta(microseconds=1))
    since, until = max(filter(None, begins)), min(filter(None, ends))
    query = events_within(wanted.team_id, since, until, narrowed)
    # What was reported later, even for a day long past, is not in it. Old reports have no such time, and no more of them come.
    known_at = func.coalesce(UsageEvent.recorded_at, UsageEvent.occurred_at)
    return _Events(wanted.team_id, query.where(known_at <= wanted.until))


def _line(row: EventRow) -> tuple[object, ...]:
    event = row.event
    return (event.occurred_at, event.key, row.meter, row.api_key, row.member, event.quantity, event.cost, event.id)


EXPORTS = {
    "usage": Export(
        title="Usage",
        action=Action.VIEW_BILLING,
        columns=columns(HEADER, moments=("Time",), numbers=("Units", "Credits")),
        rows=_events,
        labels={"meter": {}, "key": {}, "member": {}},
        instants=("begin", "end"),
    )
}
