"""The history of credits as a file: every entry with the balance after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from werkzeug.exceptions import UnprocessableEntity

from portal.billing.list_filters import read_filters
from portal.core.authz import Action
from portal.core.database import db
from portal.core.exporting import Export, Part, Wanted, columns
from portal.core.pagination import count_rows
from portal.credits.history import FILTER_LABELS, HistoryRow, entries_of, rows_of
from portal.credits.models import CreditEntry

HEADER = ("Date", "What", "About", "Change", "Balance", "Entry")


@dataclass(frozen=True)
class _Entries:
    team_id: str
    query: Select[Any]

    def count(self, at_most: int) -> int:
        return count_rows(self.query, at_most)

    def part(self, after: str | None, limit: int) -> Part:
        older = self.query.where(CreditEntry.version < int(after)) if after else self.query
        read = db.session.execute(older.order_by(CreditEntry.version.desc()).limit(limit))
        found = rows_of(self.team_id, read.all())
        return Part([_line(row) for row in found], str(found[-1].version) if len(found) == limit else None)


def _entries(wanted: Wanted) -> _Entries:
    kind = wanted.arguments.get("kind")
    if kind is not None and kind not in FILTER_LABELS:
        raise UnprocessableEntity("There is no such kind.")
    days = read_filters({name: wanted.arguments.get(name, "") for name in ("since", "until")}, wanted.zone)
    entries: Any = entries_of(wanted.team_id, kind)
    return _Entries(wanted.team_id, days.within_days(entries, CreditEntry.at).where(CreditEntry.at <= wanted.until))


def _line(row: HistoryRow) -> tuple[object, ...]:
    return (row.at, row.what, row.about, row.amount, row.balance_after, row.version)


EXPORTS = {
    "credits": Export(
        title="Credit history",
        action=Action.VIEW_BILLING,
        columns=columns(HEADER, moments=("Date",), numbers=("Change", "Balance", "Entry")),
        rows=_entries,
        labels={"kind": FILTER_LABELS},
    )
}
