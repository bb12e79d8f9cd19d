"""The account's history as a list: every entry with the balance after it, newest first, in pages.

Pages are counted from an entry's version and not from the top, so that what is written meanwhile moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Row, Select, select

from portal.billing.list_filters import Filters
from portal.core.database import db
from portal.credits.daily import standing_before
from portal.credits.models import CreditAccount, CreditEntry, CreditGrant
from portal.credits.queries import KIND_LABELS
from portal.credits.undo_words import Reason, reasons

PAGE_ROWS = 20

# What a person may want to see of it, and the kinds of entries that are that.
FILTERS = {
    "usage": ("spent",),
    "grants": ("granted", "adjusted"),
    "expired": ("expired",),
    "returns": ("reversed",),
    "frozen": ("frozen", "thawed"),
}
FILTER_LABELS = {
    "usage": "Usage",
    "grants": "Added",
    "expired": "Expired",
    "returns": "Taken back",
    "frozen": "Frozen and set free",
}
USE = "usage:"
WHAT = {
    "expired": "Expired",
    "reversed": "Taken back",
    "adjusted": "Adjusted",
    "frozen": "Frozen",
    "thawed": "Set free",
}

Entries: TypeAlias = Select[CreditEntry, str | None, str | None]


@dataclass(frozen=True)
class HistoryRow:
    """One change of the balance: what it was, about what, by how much (negative when credits went), what was left."""

    version: int
    at: datetime
    what: str
    about: str
    amount: int
    balance_after: int
    # Whether it is about a payment that went back or may, and the invoice of that, where it has one.
    of_payment: bool = False
    invoice_id: str | None = None

    @property
    def gain(self) -> bool:
        """Whether the entry gave credits."""
        return self.amount > 0


@dataclass(frozen=True)
class HistoryPage:
    """`newer` and `older` are the versions to go on from, None where there is nothing more that way."""

    rows: list[HistoryRow]
    newer: int | None
    older: int | None


def history(
    team_id: str,
    only: str | None = None,
    *,
    before: int | None = None,
    after: int | None = None,
    days: Filters | None = None,
) -> HistoryPage:
    """A page of entries below `before` or above `after`; the newest without either. `days` narrow it to a time."""
    query = _within(entries_of(team_id, only), team_id, days).limit(PAGE_ROWS + 1)
    if after is not None:
        query = query.where(CreditEntry.version > after).order_by(CreditEntry.version)
    else:
        below = [CreditEntry.version < before] if before is not None else []
        query = query.where(*below).order_by(CreditEntry.version.desc())
    found = rows_of(team_id, db.session.execute(query).all())
    more, rows = len(found) > PAGE_ROWS, found[:PAGE_ROWS]
    if after is not None:
        rows.reverse()
    newer = bool(rows) and (more if after is not None else before is not None)
    older = bool(rows) and (more if after is None else True)
    return HistoryPage(rows, rows[0].version if newer else None, rows[-1].version if older else None)


def entries_of(team_id: str, only: str | None = None) -> Entries:
    """The team's entries with kind and source of the lot each is about; `only` those that `FILTERS` has under it."""
    query = (
        select(CreditEntry, CreditGrant.kind, CreditGrant.source)
        .outerjoin(CreditGrant, (CreditGrant.team_id == CreditEntry.team_id) & (CreditGrant.id == CreditEntry.grant_id))
        .where(CreditEntry.team_id == team_id)
    )
    if only not in FILTERS:
        return query
    if only != "usage":
        # Few entries are no spends, and these have an index of their own: without it a long history would be read for them.
        few = select(CreditEntry.id).where(CreditEntry.team_id == team_id, CreditEntry.grant_id.is_not(None))
        query = query.where(CreditEntry.id.in_(select(few.cte("few").prefix_with("MATERIALIZED").c.id)))
    return query.where(CreditEntry.kind.in_(FILTERS[only]))


def _within(query: Entries, team_id: str, days: Filters | None) -> Entries:
    """Entries are found by their versions: where a day begins among them is looked up, so that none is read in vain."""
    if days is None or not days.any:
        return query
    newest = db.session.execute(select(CreditAccount.version).where(CreditAccount.team_id == team_id)).scalar() or 0
    since, until = days.span
    moments = [moment for moment in (since, until) if moment is not None]
    versions = iter(standing_before(team_id, moments, newest))
    if since is not None:
        query = query.where(CreditEntry.version > next(versions).version)
    if until is not None:
        query = query.where(CreditEntry.version <= next(versions).version)
    return query


def rows_of(team_id: str, rows: Sequence[Row[CreditEntry, str | None, str | None]]) -> list[HistoryRow]:
    """The rows in words; why something was taken back or frozen is looked up for all of them together."""
    told = reasons(team_id, [row[0].cause_key for row in rows if row[0].kind not in ("spent", "granted", "expired")])
    return [row_of(row, told.get(row[0].cause_key)) for row in rows]


def row_of(row: Row[CreditEntry, str | None, str | None], reason: Reason | None = None) -> HistoryRow:
    entry, grant_kind, source = row
    what, about = _words(entry, grant_kind, source or "")
    if reason is None:
        return HistoryRow(entry.version, entry.at, what, about, entry.amount, entry.balance_after)
    about = f"{about}. {reason.words}"
    return HistoryRow(entry.version, entry.at, what, about, entry.amount, entry.balance_after, True, reason.invoice_id)


def _words(entry: CreditEntry, grant_kind: str | None, source: str) -> tuple[str, str]:
    if entry.kind == "spent":
        return "Usage", entry.cause_key.removeprefix(USE) if entry.cause_key.startswith(USE) else ""
    name = (
        f"{KIND_LABELS.get(grant_kind or '', 'Grant')}: {source}" if source else KIND_LABELS.get(grant_kind or "", "")
    )
    if entry.kind == "granted":
        return ("Plan credits", source) if grant_kind == "subscription" else (source or name, "")
    return WHAT[entry.kind], name
