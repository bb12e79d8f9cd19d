"""Why the balance is what it is: from the start of the month under way, and from the beginning by kind of entry.

Spends are not added up: there may be millions. What was used follows from the balance at the start, the balance now, and the
few entries between that are no spends, which is what the ledger's rules make it (each entry has the balance after it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.core.database import send
from portal.core.statements import Statement
from portal.credits.book import Book, Posting
from portal.credits.daily import ADDING, FEW, no_spends, standing_before
from portal.credits.derivations import Derivation, Source, Term, derivation
from portal.credits.queries import KIND_LABELS, current_plan_lot
from portal.credits.storage import load_book

BY_KIND = Statement(
    f"{FEW} select kind, cast(sum(amount) as bigint) as amount, count(*) as entries from few"  # noqa: S608  all of it is ours
    " where version <= :version group by kind"
)
KIND_WORDS = {
    "granted": "Added",
    "adjusted": "Adjusted",
    "expired": "Expired",
    "reversed": "Taken back",
    "frozen": "Frozen while a payment is disputed",
    "thawed": "Free again after a dispute",
}
# Where the history shows them; of other kinds it has no filter.
FILTER_OF = {"granted": "grants", "adjusted": "grants", "expired": "expired", "reversed": "returns"}
# Terms of their own; what is older is told together.
TERMS_MAX = 25
WITHOUT_PLAN = timedelta(days=30)


@dataclass(frozen=True)
class BalanceExplained:
    """`since` is when the month under way began. `lots`: the same available credits, by what they are left of."""

    since: datetime
    now: datetime
    used: int
    period: Derivation
    available: Derivation
    lots: Derivation
    beginning: Derivation


def explain_balance(team_id: str) -> BalanceExplained | None:
    """None for a team without an account."""
    book = load_book(team_id)
    if book is None:
        return None
    posted = Posted(book.version, book.balance)
    book.post_due()
    plan = current_plan_lot(book)
    since = plan.effective_at if plan else book.now - WITHOUT_PLAN
    period, used = _period(book, posted, since)
    return BalanceExplained(
        since=since,
        now=book.now,
        used=used,
        period=period,
        available=_available(book),
        lots=_lots(book),
        beginning=_beginning(book, posted),
    )


@dataclass(frozen=True)
class Posted:
    """What stands in the tables; the book has what is due as well."""

    version: int
    balance: int


def _period(book: Book, posted: Posted, since: datetime) -> tuple[Derivation, int]:
    """From what was left when the month began, by what has come and gone since; and what was used."""
    start = standing_before(book.team_id, [since], posted.version)[0]
    rows = no_spends(book.team_id, start.version, posted.version)
    terms = [
        Term(
            grant_words(row.kind, row.grant_kind, row.source),
            row.amount,
            row.at.strftime("%-d %b %Y"),
            Source("grant", {"cause": row.grant_cause}),
        )
        for row in rows
    ]
    used = start.balance + sum(row.amount for row in rows) - posted.balance
    usage = Term("Usage", -used, "By feature", Source("usage"))
    told = [Term("Left before", start.balance, "", _entry(start.version)), *_folded(terms), usage, *_due(book)]
    return derivation("Since this month's credits began", told, "Balance", book.balance), used


def _folded(terms: Sequence[Term]) -> list[Term]:
    if len(terms) <= TERMS_MAX:
        return list(terms)
    older, newer = terms[:-TERMS_MAX], terms[-TERMS_MAX:]
    rest = Term("Earlier changes", sum(term.amount for term in older), _entries(len(older)), Source("history"))
    return [rest, *newer]


def _due(book: Book) -> list[Term]:
    """What has begun or ended and is written down by whoever comes next."""
    return [Term(_words_of(book, posting), posting.amount, "Due now") for posting in book.postings]


def _words_of(book: Book, posting: Posting) -> str:
    lot = book.lots[posting.grant_id or 0]
    return grant_words(posting.kind, lot.kind, lot.source)


def grant_words(kind: str, grant_kind: str, source: str) -> str:
    name = "plan credits" if grant_kind == "subscription" else ""
    about = ", ".join(part for part in (name, source) if part) or KIND_LABELS[grant_kind]
    return about[:1].upper() + about[1:] if kind in ADDING else f"{KIND_WORDS[kind]}: {about}"


def _available(book: Book) -> Derivation:
    terms = [
        Term("Balance", book.balance),
        Term("Held for work under way, with what has ended beside it", -book.reserved),
        Term("Owed, and taken from the next credits", book.debt),
    ]
    return derivation("What of it can be spent", terms, "Available", book.available)


def _lots(book: Book) -> Derivation:
    live = [lot for lot in book.lots.values() if lot.state == "live"]
    terms = [
        Term(
            grant_words("granted", lot.kind, lot.source),
            lot.remaining,
            f"until {lot.expires_at:%-d %b %Y}" if lot.expires_at else "does not expire",
            Source("grant", {"cause": lot.cause_key}),
        )
        for lot in live
    ]
    aside = [
        Term("Held for work under way, of these", -sum(lot.held for lot in live)),
        Term("Frozen while a payment is disputed, of these", -sum(lot.frozen for lot in live)),
    ]
    return derivation("What it is left of", [*terms, *aside], "Available", book.available)


def _beginning(book: Book, posted: Posted) -> Derivation:
    sums = {row.kind: row for row in send(BY_KIND, team_id=book.team_id, version=posted.version)}
    terms = [
        Term(words, sums[kind].amount, _entries(sums[kind].entries), _history(kind))
        for kind, words in KIND_WORDS.items()
        if kind in sums
    ]
    spends = posted.version - sum(row.entries for row in sums.values())
    used = sum(term.amount for term in terms) - posted.balance
    usage = Term("Used", -used, _entries(spends), Source("history", {"kind": "usage"}))
    due = sum(posting.amount for posting in book.postings)
    return derivation("Since the beginning", [*terms, usage, Term("Due now", due)], "Balance", book.balance)


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def _history(kind: str) -> Source:
    return Source("history", {"kind": FILTER_OF[kind]} if kind in FILTER_OF else {})


def _entry(version: int) -> Source | None:
    return Source("entry", {"version": version}) if version else None
