"""The audit trail as a file, for those who may see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.audit_log import AuditRow, Filters, count_of_team, part_of_team
from portal.accounts.audit_words import WORDS
from portal.core.authz import Action
from portal.core.exporting import Export, Part, Row, Wanted, columns
from portal.core.times import zone_of

HEADER = ("id", "time", "actor", "action", "in words", "detail", "target", "ip", "device", "request id")


def audit_filters(arguments: Mapping[str, str], zone: str) -> Filters:
    """From an address or a form; `until` means the whole of its day. Raises `UnprocessableEntity` for a day that is none."""
    return Filters(
        action=arguments.get("action", ""),
        actor=arguments.get("actor", ""),
        since=_day(arguments.get("since"), zone),
        until=_day(arguments.get("until"), zone, timedelta(days=1)),
    )


def _day(text: str | None, zone: str, later: timedelta = timedelta()) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d") + later  # noqa: DTZ007  given its zone at once
        return day.replace(tzinfo=zone_of(zone))
    except (ValueError, OverflowError):
        raise UnprocessableEntity("A day is written like 2026-11-25.") from None


@dataclass(frozen=True)
class _Entries:
    team_id: str
    filters: Filters

    def count(self, at_most: int) -> int:
        return count_of_team(self.team_id, self.filters, at_most)

    def part(self, after: str | None, limit: int) -> Part:
        found = part_of_team(self.team_id, self.filters, after, limit)
        return Part([_line(row) for row in found], found[-1].id if len(found) == limit else None)


def _entries(wanted: Wanted) -> _Entries:
    filters = audit_filters(wanted.arguments, wanted.zone)
    return _Entries(wanted.team_id, replace(filters, until=min(filters.until or wanted.until, wanted.until)))


def _line(row: AuditRow) -> Row:
    return (
        row.id,
        row.at,
        row.actor,
        row.action,
        row.words,
        row.detail,
        row.target,
        row.ip,
        row.device,
        row.request_id,
    )


EXPORTS = {
    "audit": Export(
        title="Audit trail",
        action=Action.VIEW_AUDIT,
        columns=columns(HEADER, moments=("time",)),
        rows=_entries,
        labels={"action": WORDS, "actor": {"system": "Turnpike"}},
        of_billing=False,
        readers_days=True,
    )
}
