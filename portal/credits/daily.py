"""The account day by day, in UTC: what was spent, added and lost, and what was left at each day's end.

However long the history is, this reads few rows. The entries of an account are in the order of their times and their
versions have no gaps, so the last one before a moment is found by halving. What was spent between two of them follows from
their balances and from the few entries that are no spends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from portal.core import clock
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.storage import load_book

# One look into the index for each step: `limit 1` keeps PostgreSQL from reading all entries to join them.
LAST_BEFORE = Statement(
    "with recursive search (moment, low, high) as ("
    "  select moment, cast(0 as bigint), cast(:version as bigint) from unnest(cast(:moments as timestamptz[])) as moment"
    "  union all"
    "  select s.moment, case when e.at < s.moment then m.middle else s.low end,"
    "    case when e.at < s.moment then s.high else m.middle - 1 end"
    "  from search s cross join lateral (select (s.low + s.high + 1) / 2 as middle) m"
    "  cross join lateral ("
    "    select at from credit_entries where team_id = :team_id and version = m.middle limit 1"
    "  ) e"
    "  where s.low < s.high"
    ")"
    " select s.moment, s.low as version, coalesce(e.balance_after, 0) as balance"
    " from search s left join lateral ("
    "   select balance_after from credit_entries where team_id = :team_id and version = s.low limit 1"
    " ) e on true"
    " where s.low >= s.high order by s.moment"
)

# All that is not a spend is rare and has an index of its own. It is read first and whole: asked for a range of versions in
# the same breath, PostgreSQL would rather read all spends of that range.
FEW = "with few as materialized (select * from credit_entries where team_id = :team_id and grant_id is not null)"
NO_SPENDS = Statement(
    f"{FEW} select e.version, e.kind, e.amount, e.cause_key, e.at,"  # noqa: S608  all of it is ours
    " g.cause_key as grant_cause, g.kind as grant_kind, g.source"
    " from few e join credit_grants g on g.team_id = :team_id and g.id = e.grant_id"
    " where e.version > :after and e.version <= :upto order by e.version"
)


ADDING = ("granted", "adjusted")


@dataclass(frozen=True)
class Standing:
    """The account just before a moment: the version of its last entry then (0: none), and what was left."""

    version: int
    balance: int


@dataclass(frozen=True)
class CreditDay:
    """Whole credits; `spent`, `expired` and `taken_back` are positive. `left` is what was left when the day ended.

    `frozen` is what was put out of reach, less what was set free again, also because its lot ended; that is neither lost nor
    added.
    """

    day: date
    spent: int
    added: int
    expired: int
    taken_back: int
    left: int
    frozen: int = 0


def standing_before(team_id: str, moments: list[datetime], version: int) -> list[Standing]:
    """How the account stood just before each of the moments, which ascend. `version` is that of its last entry."""
    rows = send(LAST_BEFORE, team_id=team_id, moments=moments, version=version)
    found = {row.moment: Standing(row.version, row.balance) for row in rows}
    return [found[moment] for moment in moments]


def no_spends(team_id: str, after: int, upto: int) -> list[Row]:
    """The entries above `after` up to `upto` that are no spends, with the grant each is about; oldest first."""
    return send(NO_SPENDS, team_id=team_id, after=after, upto=upto)


def credit_days(team_id: str, first: date, last: date) -> list[CreditDay]:
    """Each day from `first` to `last`, as far as it has come. What is due and not posted yet is not in it."""
    book = load_book(team_id)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if book is None:
        return [CreditDay(day, 0, 0, 0, 0, 0) for day in days]
    begins = [datetime.combine(day, time(), UTC) for day in (*days, last + timedelta(days=1))]
    stood = standing_before(team_id, begins, book.version)
    others = no_spends(team_id, stood[0].version, stood[-1].version)
    return [_day(day, stood[place], stood[place + 1], others) for place, day in enumerate(days)]


def spent_lately(team_id: str, days: int) -> dict[date, int]:
    """What was spent on each of the last `days` days and today."""
    today = clock.now().astimezone(UTC).date()
    return {day.day: day.spent for day in credit_days(team_id, today - timedelta(days=days), today)}


def _day(day: date, before: Standing, after: Standing, others: list[Row]) -> CreditDay:
    mine = [row for row in others if before.version < row.version <= after.version]
    spent = sum(row.amount for row in mine) - (after.balance - before.balance)
    added = sum(row.amount for row in mine if row.kind in ADDING)
    expired, taken_back = (-sum(row.amount for row in mine if row.kind == kind) for kind in ("expired", "reversed"))
    frozen = -sum(row.amount for row in mine if row.kind in ("frozen", "thawed"))
    return CreditDay(day, spent, added, expired, taken_back, after.balance, frozen)
