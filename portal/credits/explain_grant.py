"""What became of a grant: what of it was spent on which day, what expired or was taken back, and what is left.

Spends are counted by day off the hot path (`lot_days.py`); those that are not counted yet follow from what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.book import Book, Posting
from portal.credits.daily import FEW
from portal.credits.derivations import Derivation, Source, Term, derivation
from portal.credits.explain_balance import grant_words
from portal.credits.grant_causes import Cause, cause_of
from portal.credits.storage import load_book

GRANT = Statement(
    "select g.id, g.kind, g.amount, g.remaining, g.effective_at, g.expires_at, g.state, g.cause_key, g.source,"
    " a.version from credit_grants g join credit_accounts a on a.team_id = g.team_id"
    " where g.team_id = :team_id and g.cause_key = :cause_key"
)
# What other entries than spends have used up of it. Those are few, whatever the account has seen.
TAKES = Statement(
    f"{FEW} select e.version, e.kind, e.at, e.cause_key, c.amount, e.grant_id = :grant_id as own"  # noqa: S608  all of it is ours
    " from few e join credit_consumptions c on c.entry_id = e.id and c.grant_id = :grant_id"
    " where e.version <= :version order by e.version"
)
# What of it repaid a debt when a hold was given back, which makes no entry.
REPAID = Statement(
    "select cast(coalesce(sum(repaid), 0) as bigint) as amount from credit_hold_lots"
    " where team_id = :team_id and grant_id = :grant_id"
)
BEGAN = Statement(
    "select version from credit_entries where team_id = :team_id and grant_id = :grant_id"
    " and kind in ('granted', 'adjusted') and version <= :version"
)
DAYS = Statement(
    "select day, spent from credit_lot_days where team_id = :team_id and grant_id = :grant_id order by day"
)
ORDERS = Statement(
    "select amount, ordered_at from credit_reversals where team_id = :team_id and grant_id = :grant_id order by id"
)

STARTS = ("granted", "adjusted")
REPAYING = "Repaid what was owed"
STATE_WORDS = {
    "waiting": "Not begun yet",
    "live": "In use",
    "used": "Used up",
    "ended": "Over",
}


@dataclass(frozen=True)
class GrantExplained:
    """`orders` are reversals that a grant which has not begun keeps until it does, in credits."""

    cause: Cause
    words: str
    state: str
    amount: int
    effective_at: datetime
    expires_at: datetime | None
    spent: int
    became: Derivation
    days: Derivation | None
    orders: Sequence[int]


def explain_grant(team_id: str, cause_key: str) -> GrantExplained | None:
    """None when the team has no grant of this cause."""
    # Before all else: what is read later may be newer, and is then left out by the book's version.
    book = load_book(team_id)
    found = send(GRANT, team_id=team_id, cause_key=cause_key)
    if not found:
        return None
    grant = _as_of(book, found[0])
    takes = send(TAKES, team_id=team_id, grant_id=grant.id, version=grant.version)
    began = bool(send(BEGAN, team_id=team_id, grant_id=grant.id, version=grant.version))
    repaid = int(send(REPAID, team_id=team_id, grant_id=grant.id)[0].amount)
    spent = grant.amount - grant.remaining - repaid - sum(take.amount for take in takes) if began else 0
    due = _due(book, grant)
    return GrantExplained(
        cause=cause_of(team_id, grant.cause_key, grant.kind, grant.source, grant.effective_at),
        words=grant_words("granted", grant.kind, grant.source),
        state=STATE_WORDS[due.state],
        amount=grant.amount,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        spent=spent,
        became=_became(grant, takes, spent, repaid, due, began=began),
        days=_days(team_id, grant, spent) if spent else None,
        orders=[row.amount for row in send(ORDERS, team_id=team_id, grant_id=grant.id)] if not began else [],
    )


@dataclass(frozen=True)
class Due:
    """What the next writer will find of the grant: its start or its end may be due and not posted yet, and holds over."""

    state: str
    remaining: int
    takes: Sequence[Posting]
    repaid: int = 0
    starts: bool = False


def _as_of(book: Book | None, grant: Row) -> Row:
    """The grant at the instant of the book, with its version. One that is no open lot of it stays as it was read."""
    lot = book.lots.get(grant.id) if book is not None else None
    if book is None or lot is None:
        return grant
    return grant._replace(remaining=lot.remaining, state=lot.state, version=book.version)


def _due(book: Book | None, grant: Row) -> Due:
    """Posts to the book what is due: what it was before has been taken from it."""
    lot = book.lots.get(grant.id) if book is not None else None
    if book is None or lot is None:
        return Due(grant.state, grant.remaining, [])
    book.post_due()
    mine = [posting for posting in book.postings if any(lot_id == lot.id for lot_id, _amount in posting.takes)]
    repaid = sum(hold.repaid.get(lot.id, 0) for hold in book.holds.values())
    starts = any(posting.grant_id == lot.id and posting.kind in STARTS for posting in book.postings)
    return Due(lot.state, lot.remaining, mine, repaid, starts)


def _became(grant: Row, takes: Sequence[Row], spent: int, repaid: int, due: Due, *, began: bool) -> Derivation:
    terms = [Term("Granted", grant.amount), Term("Used", -spent)]
    terms += [Term(_take_words(take.kind, own=take.own), -take.amount, *_where(take)) for take in takes]
    terms += [Term(REPAYING, -repaid, "When what was held was given back"), Term(REPAYING, -due.repaid, "Due now")]
    for posting in due.takes:
        gone = sum(amount for lot_id, amount in posting.takes if lot_id == grant.id)
        terms.append(Term(_take_words(posting.kind, own=posting.grant_id == grant.id), -gone, "Due now"))
    if not began and not due.starts and due.state == "ended":
        terms.append(Term("Never began", -grant.amount, "Something else took its place before its start."))
    return derivation("What became of it", terms, "Left", due.remaining)


def _take_words(kind: str, *, own: bool) -> str:
    if kind == "reversed":
        return "Taken back" if own else "Taken back in place of another grant"
    return "Expired" if kind == "expired" else REPAYING


def _where(take: Row) -> tuple[str, Source]:
    return f"{take.at:%-d %b %Y}", Source("entry", {"version": take.version})


def _days(team_id: str, grant: Row, spent: int) -> Derivation:
    rows = send(DAYS, team_id=team_id, grant_id=grant.id)
    terms = [
        Term(f"{row.day:%-d %b %Y}", row.spent, "", Source("usage", {"since": str(row.day), "until": str(row.day)}))
        for row in rows
    ]
    late = spent - sum(row.spent for row in rows)
    return derivation("Used, by day", [*terms, Term("Just now, not counted by day yet", late)], "Used", spent)
