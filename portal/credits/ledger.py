"""The one writer of the ledger. It runs inside the caller's unit of work and never commits.

Every act is the same four steps. It waits for the account's lock, as a statement of its own. It reads the book as of
now, and whether its cause has already had its effect (I3): if so, that is the answer. It posts all starts and expiries
that are due. Then it acts, and one statement writes entries, consumptions, lots and account together.

All amounts are whole credits from 1 to `AMOUNT_MAX`. Cause keys name the business fact and are unique in a team:
`period:<subscription>:<kind>:<start>`, `bundle:<checkout>`, `usage:<client key>`, `refund:<refund>`; keys that begin
with `expire:` belong to the ledger itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.book import BALANCE_MAX, Book, Lot
from portal.credits.errors import CauseConflict, CreditOverflow, InsufficientCredits, LedgerError, UnknownGrant
from portal.credits.models import KIND_RANK
from portal.credits.storage import (
    find_cause,
    load_book_with_cause,
    lock_account,
    locked_book,
    lot_from,
    save_book,
    spend_order,
)

__all__ = [
    "AMOUNT_MAX",
    "CauseConflict",
    "CreditOverflow",
    "InsufficientCredits",
    "LedgerError",
    "Spent",
    "UnknownGrant",
    "accounts_with_due",
    "check_amount",
    "check_cause",
    "conflict",
    "end_early",
    "grant",
    "post_due",
    "reverse",
    "spend",
    "spend_order",
]

# The largest integer that every JSON reader keeps exact.
AMOUNT_MAX = 2**53

TEXT_LENGTH_MAX = 500

# The namespace of the ledger's own causes.
OWN_CAUSES = "expire:"

INSERT_GRANT = Statement(
    "insert into credit_grants"
    " (team_id, kind, amount, remaining, effective_at, expires_at, state, cause_key, source)"
    " values (:team_id, :kind, :amount, :amount, :effective_at, :expires_at, 'waiting', :cause_key, :source)"
    " returning id"
)

# What was granted, less what expired and what was taken back: the entries about a grant add up to what may still be
# reversed, spent or not. `cast`, because the sum of bigints is a numeric.
FIND_GRANT = Statement(
    "select g.id, g.kind, g.amount, g.remaining, g.effective_at, g.expires_at, g.state, g.cause_key, g.source,"
    " (select cast(coalesce(sum(e.amount), 0) as bigint) from credit_entries e"
    "  where e.team_id = g.team_id and e.grant_id = g.id) as reversible"
    " from credit_grants g where g.team_id = :team_id and g.cause_key = :cause_key"
)

INSERT_REVERSAL = Statement(
    "insert into credit_reversals (team_id, grant_id, amount, cause_key)"
    " values (:team_id, :grant_id, :amount, :cause_key) returning id"
)

DUE_ACCOUNTS = Statement(
    "select team_id from credit_grants where state = 'waiting' and effective_at <= app_now()"
    " union select team_id from credit_grants where state = 'live' and expires_at <= app_now()"
    " limit :limit"
)


@dataclass(frozen=True)
class Spent:
    """A spend's answer, the same however often it is asked. `balance` is what was left, in credits."""

    balance: int
    version: int
    entry_id: int
    # When it was posted; None in an answer that was given before, which does not make it another answer.
    at: datetime | None = field(default=None, compare=False)


def grant(
    team_id: str,
    *,
    kind: str,
    amount: int,
    cause_key: str,
    source: str,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> bool:
    """Give a team credits, usable from `effective_at` (now) until just before `expires_at` (never).

    Returns whether it had an effect: the same cause again has none. Raises `CauseConflict` if the cause stands for
    another kind or amount, `CreditOverflow`, and `ValueError` or `TypeError` for what is no grant. When it starts, it
    repays debt first (I2). Until then it is not available.

    A grant whose time is already over is recorded all the same: it starts and expires at once, as two entries. What
    was paid for must be found in the ledger however late the news of it came (I12), it still repays debt, and it must
    not be spendable in a period it does not belong to.
    """
    _check_grant(kind, amount, cause_key, source, effective_at, expires_at)
    lock_account(team_id)
    book, known = load_book_with_cause(team_id, cause_key)
    if known:
        first = known.get("grant")
        if first is None or (first.kind, first.amount) != (kind, amount):
            raise conflict(cause_key)
        return False
    book.post_due()
    if amount + book.reserved + sum(lot.remaining for lot in book.lots.values()) > BALANCE_MAX:
        raise CreditOverflow(f"{team_id}: the grant of {amount} credits would pass the largest balance")
    effective_at = effective_at or min(book.now, expires_at or book.now)
    lot = _insert_grant(team_id, kind, amount, cause_key, source, effective_at, expires_at)
    book.lots[lot.id] = lot
    book.post_due()
    save_book(book)
    return True


def spend(team_id: str, amount: int, cause_key: str) -> Spent:
    """Spend `amount` credits, whole or not at all (I4), from the lots in spending order (I5).

    The same cause with the same amount again returns the first answer and spends nothing (I8). Raises
    `InsufficientCredits` (after which only due starts and expiries are written), `CauseConflict` if the cause stands
    for something else, and `ValueError` or `TypeError` for what is no amount or no key.
    """
    check_amount(amount)
    check_cause(cause_key)
    lock_account(team_id)
    book, known = load_book_with_cause(team_id, cause_key)
    if known:
        first = known.get("entry")
        if first is None or (first.kind, first.amount) != ("spent", -amount):
            raise conflict(cause_key)
        return Spent(balance=first.balance_after, version=first.version, entry_id=first.id)
    book.post_due()
    try:
        posting = book.spend(amount, cause_key)
    except InsufficientCredits:
        save_book(book)
        raise
    return Spent(balance=posting.balance_after, version=posting.version, entry_id=save_book(book), at=book.now)


def reverse(team_id: str, grant_cause_key: str, amount: int, cause_key: str) -> int:
    """Take back up to `amount` credits of a grant, and return how many that came to so far.

    The rule: what remains of that grant goes first. What of it is already spent is taken from the team's other live
    credits in spending order, and only what those do not cover becomes debt, so that there is never debt while
    anything is available (I2). What has expired, or was taken back before, is not taken a second time: all reversals
    and the expiry of a grant together never pass its amount. A grant that has not started yet keeps the order and
    is reversed in the moment it starts.

    The same cause again changes nothing. Raises `UnknownGrant`, `CauseConflict` if the cause stands for another
    amount or grant, `CreditOverflow`, and `ValueError` or `TypeError` for what is no amount or no key.
    """
    check_amount(amount)
    check_cause(cause_key)
    lock_account(team_id)
    book = locked_book(team_id)
    book.post_due()
    save_book(book)
    found = _find_grant(team_id, grant_cause_key)
    known = find_cause(team_id, cause_key)
    if known:
        first, entry = known.get("reversal"), known.get("entry")
        if first is None or (first.grant_id, first.amount) != (found.id, amount):
            raise conflict(cause_key)
        return -entry.amount if entry else 0
    send(INSERT_REVERSAL, team_id=team_id, grant_id=found.id, amount=amount, cause_key=cause_key)
    if found.state == "waiting":
        return 0
    taken = min(amount, found.reversible)
    book.take_back(_lot_of(book, found), taken, cause_key)
    save_book(book)
    return taken


def end_early(team_id: str, grant_cause_key: str) -> bool:
    """Let what remains of a grant expire now, as when a subscription takes the free plan's place.

    It is the grant's one expiry, under the same cause as an ordinary one, so it can never happen twice (I10). A grant
    that has not started never will. Returns whether it changed anything. Raises `UnknownGrant`.
    """
    lock_account(team_id)
    book = locked_book(team_id)
    book.post_due()
    save_book(book)
    found = _find_grant(team_id, grant_cause_key)
    if found.state == "ended":
        return False
    book.end(_lot_of(book, found))
    save_book(book)
    return True


def post_due(team_id: str) -> int:
    """Post the account's due starts and expiries; returns how many entries that made. For the schedule."""
    lock_account(team_id)
    book = locked_book(team_id)
    book.post_due()
    entries = len(book.postings)
    save_book(book)
    return entries


def accounts_with_due(limit: int) -> list[str]:
    """Up to `limit` teams that have a start or an expiry to be posted, so that no balance stays stale for long."""
    return [row.team_id for row in send(DUE_ACCOUNTS, limit=limit)]


def _lot_of(book: Book, found: Row) -> Lot:
    """The grant as a lot of this book; one that was closed before is brought in again, with nothing left in it."""
    if found.id not in book.lots:
        book.lots[found.id] = lot_from(found)
    return book.lots[found.id]


def _find_grant(team_id: str, cause_key: str) -> Row:
    rows = send(FIND_GRANT, team_id=team_id, cause_key=cause_key)
    if not rows:
        raise UnknownGrant(f"{team_id} has no grant {cause_key!r}")
    return rows[0]


def conflict(cause_key: str) -> CauseConflict:
    """The error of a cause that stands for something else."""
    return CauseConflict(f"{cause_key!r} already stands for something else")


def check_amount(amount: int) -> None:
    """Raise `TypeError` or `ValueError` for what is no amount of credits."""
    if type(amount) is not int:
        raise TypeError(f"an amount of credits is a whole number, not {amount!r}")
    if not 1 <= amount <= AMOUNT_MAX:
        raise ValueError(f"an amount of credits is from 1 to {AMOUNT_MAX}, not {amount}")


def check_cause(cause_key: str) -> None:
    """Raise `TypeError` or `ValueError` for what cannot be a cause of the caller's."""
    _check_text("a cause key", cause_key)
    if not cause_key:
        raise ValueError("a cause key cannot be empty")
    if cause_key.startswith(OWN_CAUSES):
        raise ValueError(f"cause keys that begin with {OWN_CAUSES!r} are the ledger's own")


def _check_text(what: str, value: str) -> None:
    """Refuse what the database could not store: it knows neither NUL nor half of a surrogate pair."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is text, not {value!r}")
    if len(value) > TEXT_LENGTH_MAX:
        raise ValueError(f"{what} has at most {TEXT_LENGTH_MAX} characters, not {len(value)}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{what} holds a character that cannot be stored: {value!r}")


def _check_grant(
    kind: str, amount: int, cause_key: str, source: str, effective_at: datetime | None, expires_at: datetime | None
) -> None:
    if kind not in KIND_RANK:
        raise ValueError(f"a grant's kind is one of {', '.join(KIND_RANK)}, not {kind!r}")
    check_amount(amount)
    check_cause(cause_key)
    _check_text("a grant's source", source)
    for moment in (effective_at, expires_at):
        if moment is not None and moment.tzinfo is None:
            raise ValueError("a grant's times must carry a time zone")
    if effective_at is not None and expires_at is not None and expires_at <= effective_at:
        raise ValueError("a grant must end after it begins")


def _insert_grant(
    team_id: str,
    kind: str,
    amount: int,
    cause_key: str,
    source: str,
    effective_at: datetime,
    expires_at: datetime | None,
) -> Lot:
    """Insert the grant as one that waits for its start, whether or not that is due."""
    row = send(
        INSERT_GRANT,
        team_id=team_id,
        kind=kind,
        amount=amount,
        effective_at=effective_at,
        expires_at=expires_at,
        cause_key=cause_key,
        source=source,
    )[0]
    return Lot(row.id, kind, amount, amount, effective_at, expires_at, "waiting", cause_key, source)
