"""Which time the usage page shows, from its address. Days are whole days in UTC, since that is how use is counted.

Links may name instants instead: the period of an invoice's line is as exact as a month of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.models import Team
from portal.core.times import YEARS, day_words, instant_in
from portal.usage.periods import usage_month
from portal.usage.queries import counted_since

CHOICES = {
    "this": "This period",
    "last": "Last period",
    "30": "Last 30 days",
    "year": "Last 12 months",
    "own": "Other dates",
}
DAYS_MAX = 366

# Longer times are shown by the month: so many bars can no longer be told apart.
BY_DAY_MAX = 92


@dataclass(frozen=True)
class UsagePeriod:
    """From `since` until just before `until`, as of `now`. `this` and `last` are months of the plan, not of the calendar."""

    choice: str
    since: datetime
    until: datetime
    now: datetime

    @property
    def first_day(self) -> date:
        return self.since.date()

    @property
    def last_day(self) -> date:
        return (self.until - timedelta(microseconds=1)).date()

    @property
    def days(self) -> list[date]:
        return [self.first_day + timedelta(days=number) for number in range((self.last_day - self.first_day).days + 1)]

    @property
    def by_month(self) -> bool:
        return len(self.days) > BY_DAY_MAX

    @property
    def under_way(self) -> bool:
        """Whether it is the plan's month that runs, whose end can be foreseen."""
        return self.choice == "this"

    @property
    def of_plan(self) -> bool:
        """Whether it is a month of the plan, which begins and ends within a day."""
        return self.choice in ("this", "last")

    @property
    def words(self) -> str:
        """`3 to 18 Nov 2026`: up to today, if it ends later."""
        last = min(self.until - timedelta(microseconds=1), self.now)
        return f"{day_words(self.since, 'UTC')} to {day_words(max(last, self.since), 'UTC')}"

    @property
    def arguments(self) -> dict[str, str]:
        """As it stands in an address."""
        if self.choice != "own":
            return {"period": self.choice}
        return {"period": "own", **(self._days if self._of_days else self._instants)}

    @property
    def export_arguments(self) -> dict[str, str]:
        """How the export of the uses is narrowed to exactly this time."""
        if self.of_plan or not self._of_days:
            return {"begin": self.since.isoformat(), "end": self.until.isoformat()}
        return self._days

    @property
    def _of_days(self) -> bool:
        return (self.since, self.until) == (_begin_of(self.first_day), _begin_of(self.last_day + timedelta(days=1)))

    @property
    def _instants(self) -> dict[str, str]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}

    @property
    def _days(self) -> dict[str, str]:
        return {"since": str(self.first_day), "until": str(self.last_day)}


def chosen_period(team: Team, arguments: Mapping[str, str], now: datetime) -> UsagePeriod:
    """Raises `UnprocessableEntity` for what the page does not offer."""
    choice = arguments.get("period") or "this"
    if choice not in CHOICES:
        raise UnprocessableEntity("There is no such period.")
    return UsagePeriod(choice, *_span(team, choice, arguments, now), now=now)


def _span(team: Team, choice: str, arguments: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    tomorrow = _begin_of(now.astimezone(UTC).date() + timedelta(days=1))
    match choice:
        case "own":
            return _own(team, arguments, tomorrow)
        case "30":
            return tomorrow - timedelta(days=30), tomorrow
        case "year":
            first = tomorrow - timedelta(days=1)
            return first.replace(year=first.year - 1, day=1) + _next_month(first), tomorrow
    this = usage_month(team.id, now)
    if choice == "this":
        return this
    since, until = usage_month(team.id, this[0] - timedelta(microseconds=1))
    # A day is split from when we have heard of it: a month may begin within one that was counted whole.
    return counted_since(team.id, since), until


def _next_month(moment: datetime) -> timedelta:
    """From the first of this month a year ago to the first of the next one, so that it is twelve months with this one."""
    first = moment.replace(year=moment.year - 1, day=1)
    return (first + timedelta(days=32)).replace(day=1) - first


def _own(team: Team, arguments: Mapping[str, str], tomorrow: datetime) -> tuple[datetime, datetime]:
    """From and to whole days as people choose them, or instants as links have them, from which on some total was counted."""
    begin, end = instant_in(arguments.get("since")), instant_in(arguments.get("until"))
    since = begin or _begin_of(_day(arguments.get("since"), (tomorrow - timedelta(days=30)).date()))
    until = end or _begin_of(_day(arguments.get("until"), (tomorrow - timedelta(days=1)).date()) + timedelta(days=1))
    if until <= since:
        raise UnprocessableEntity("The last day must not lie before the first one.")
    if until - since > timedelta(days=DAYS_MAX):
        raise UnprocessableEntity(f"At most {DAYS_MAX} days can be looked at together.")
    return counted_since(team.id, begin) if begin else since, until


def _day(text: str | None, default: date) -> date:
    if not text:
        return default
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if found.year not in YEARS:
        raise UnprocessableEntity("A day is written like 2026-11-25.")
    return found


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
