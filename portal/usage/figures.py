"""What was used, from the daily totals: a page's cost follows from its days and not from how much was used in them.

All of it is one team's, from `since` until just before `until`, and exact for whole days in UTC and for months of the plan
(a day in which one begins has two totals). Quantities are units of the meter, costs are credits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from portal.core.database import send
from portal.core.statements import Statement

_WITHIN = (
    " from usage_daily where team_id = :team_id and starts_at >= :since and starts_at < :until"
    " and (cast(:meter as text) is null or meter = :meter)"
    " and (cast(:api_key_id as text) is null or api_key_id = :api_key_id)"
    " and (cast(:user_id as text) is null or user_id = :user_id)"
)
_SUMS = " cast(sum(quantity) as bigint) as quantity, cast(sum(cost) as bigint) as cost, cast(sum(events) as bigint) as events"

BY_DAY = Statement(
    f"select cast(starts_at at time zone 'UTC' as date) as day, meter,{_SUMS}{_WITHIN} group by 1, 2 order by 1, 2"
)
BY_API_KEY = Statement(f"select api_key_id as id, meter,{_SUMS}{_WITHIN} group by 1, 2 order by 1, 2")
BY_MEMBER = Statement(f"select user_id as id, meter,{_SUMS}{_WITHIN} group by 1, 2 order by 1, 2")

# The start of the day at which so many of the newest uses have been passed, so that a list of them looks no further back.
ENOUGH_SINCE = Statement(
    "select min(day) as since from ("  # noqa: S608  all of it is ours
    "  select day, sum(events) over (order by day desc) - events as newer from ("
    f"    select date_trunc('day', starts_at, 'UTC') as day, sum(events) as events{_WITHIN} group by 1) days"
    ") passed where newer < cast(:wanted as bigint)"
)


@dataclass(frozen=True)
class Narrowed:
    """What figures are narrowed to; None is everything. `""` stands for uses without a key, or without a member."""

    meter: str | None = None
    api_key_id: str | None = None
    user_id: str | None = None

    @property
    def any(self) -> bool:
        return any(value is not None for value in (self.meter, self.api_key_id, self.user_id))

    @property
    def of_team(self) -> bool:
        """Whether it is the use of all of the team, which is what a plan includes some for."""
        return self.api_key_id is None and self.user_id is None

    @property
    def values(self) -> dict[str, str | None]:
        return {"meter": self.meter, "api_key_id": self.api_key_id, "user_id": self.user_id}


@dataclass(frozen=True)
class Figure:
    quantity: int = 0
    cost: int = 0
    events: int = 0

    def __add__(self, other: Figure) -> Figure:
        return Figure(self.quantity + other.quantity, self.cost + other.cost, self.events + other.events)


EVERYTHING = Narrowed()
NOTHING = Figure()

# The use of each meter: the units of two of them are not to be added up.
ByMeter = Mapping[str, Figure]


def whole_of(figures: ByMeter) -> Figure:
    """Calls and credits of all meters."""
    return sum(figures.values(), NOTHING)


def by_day(
    team_id: str, since: datetime, until: datetime, narrowed: Narrowed = EVERYTHING
) -> dict[tuple[date, str], Figure]:
    """By day in UTC and meter. What was not used has no line."""
    rows = send(BY_DAY, team_id=team_id, since=since, until=until, **narrowed.values)
    return {(row.day, row.meter): Figure(row.quantity, row.cost, row.events) for row in rows}


def by_api_key(team_id: str, since: datetime, until: datetime, narrowed: Narrowed = EVERYTHING) -> dict[str, ByMeter]:
    """By the id of the API key, the dearest first; `""` is use that was reported without one."""
    return _by_id(BY_API_KEY, team_id, since, until, narrowed)


def by_member(team_id: str, since: datetime, until: datetime, narrowed: Narrowed = EVERYTHING) -> dict[str, ByMeter]:
    """By the id of the member for whom it was, the dearest first; `""` is use that names nobody."""
    return _by_id(BY_MEMBER, team_id, since, until, narrowed)


def enough_since(team_id: str, since: datetime, until: datetime, narrowed: Narrowed, wanted: int) -> datetime | None:
    """The start of the day before which nobody has to look for the `wanted` newest uses; None where there are none."""
    rows = send(ENOUGH_SINCE, team_id=team_id, since=since, until=until, wanted=wanted, **narrowed.values)
    found: datetime | None = rows[0].since
    return found


def by_meter(days: Mapping[tuple[date, str], Figure]) -> dict[str, Figure]:
    """The same days without their dates."""
    found: dict[str, Figure] = {}
    for (_day, meter), figure in days.items():
        found[meter] = found.get(meter, NOTHING) + figure
    return found


def _by_id(
    statement: Statement, team_id: str, since: datetime, until: datetime, narrowed: Narrowed
) -> dict[str, ByMeter]:
    found: dict[str, dict[str, Figure]] = {}
    for row in send(statement, team_id=team_id, since=since, until=until, **narrowed.values):
        found.setdefault(row.id, {})[row.meter] = Figure(row.quantity, row.cost, row.events)
    wholes = {row_id: whole_of(figures) for row_id, figures in found.items()}
    # The database has put the ids in order, which is kept where nothing else decides.
    first = sorted(found, key=lambda row_id: (-wholes[row_id].cost, -wholes[row_id].events))
    return {row_id: found[row_id] for row_id in first}
