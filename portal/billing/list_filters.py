"""What a list of payments or invoices is narrowed to, from the address of the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute
from werkzeug.exceptions import UnprocessableEntity

from portal.core.times import zone_of


@dataclass(frozen=True)
class Filters:
    """Days are whole days in the team's zone, both included; None lets everything through."""

    type: str | None
    status: str | None
    since: date | None
    until: date | None
    zone: str

    @property
    def any(self) -> bool:
        return any((self.type, self.status, self.since, self.until))

    @property
    def arguments(self) -> dict[str, str]:
        """As they stand in an address."""
        chosen = {"type": self.type, "status": self.status, "since": self.since, "until": self.until}
        return {name: str(value) for name, value in chosen.items() if value}

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """From when until just before when; None where it is open."""
        return (
            self._begin_of(self.since) if self.since is not None else None,
            self._begin_of(self.until + timedelta(days=1)) if self.until is not None else None,
        )

    def within_days(self, query: Select[Any], at: InstrumentedAttribute[Any]) -> Select[Any]:
        since, until = self.span
        if since is not None:
            query = query.where(at >= since)
        if until is not None:
            query = query.where(at < until)
        return query

    def _begin_of(self, day: date) -> datetime:
        return datetime.combine(day, time(), zone_of(self.zone))


def read_filters(
    arguments: Mapping[str, str], zone: str, *, types: Collection[str] = (), statuses: Collection[str] = ()
) -> Filters:
    """The filters of an address. Raises `UnprocessableEntity` for what the page does not offer."""
    return Filters(
        type=_choice(arguments, "type", types),
        status=_choice(arguments, "status", statuses),
        since=_day(arguments, "since"),
        until=_day(arguments, "until"),
        zone=zone,
    )


def _choice(arguments: Mapping[str, str], name: str, allowed: Collection[str]) -> str | None:
    value = arguments.get(name) or None
    if value is not None and value not in allowed:
        raise UnprocessableEntity(f"There is no such {name}.")
    return value


def _day(arguments: Mapping[str, str], name: str) -> date | None:
    value = arguments.get(name) or None
    if value is None:
        return None
    try:
        found = date.fromisoformat(value)
    except ValueError:
        found = date.min
    if not 2000 <= found.year <= 9000:
        raise UnprocessableEntity("A day is written like 2026-11-25.")
    return found
