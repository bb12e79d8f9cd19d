"""Holds, as the ledger's acts: credits are kept for a use that is under way, and then settled or released.

Each runs inside the caller's unit of work and never commits, as all of `ledger.py`, whose rules `book.py` says. A hold
has one row, which is closed once and for ever. It lasts for `expires_in` from the moment it is made and can be settled
until just before its end; then all of it is given back, by the schedule or by whoever locks the account first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from portal.core.database import send
from portal.core.ids import is_id, new_id
from portal.core.statements import Row, Statement
from portal.credits.book import Book
from portal.credits.errors import CauseConflict, HoldClosed, InsufficientCredits, UnknownHold
from portal.credits.ledger import Spent, check_amount, check_cause
from portal.credits.models import CreditHold
from portal.credits.storage import (
    load_book_with_cause,
    load_open_hold,
    lock_account,
    locked_book,
    save_book,
    save_entries,
)

EXPIRES_IN_MIN, EXPIRES_IN_MAX = timedelta(seconds=1), timedelta(days=7)

PREFIX = "hold"

INSERT_HOLD = Statement(
    "with held as ("
    "  insert into credit_holds (id, team_id, cause_key, amount, meter, quantity, expires_in, created_at, expires_at,"
    "    state, settled, spend_order, opened_version, api_key_id, user_id)"
    "  values (:id, :team_id, :cause_key, :amount, :meter, :quantity, :expires_in, :created_at, :expires_at,"
    "    'open', 0, :spend_order, :opened_version, :api_key_id, :user_id)"
    ")"
    " insert into credit_hold_lots (team_id, hold_id, grant_id, amount)"
    " select :team_id, :id, p.grant_id, p.amount"
    " from json_to_recordset(cast(:parts as json)) as p (grant_id bigint, amount bigint)"
)

_FIND = (
    "select h.id, h.amount, h.meter, h.quantity, h.expires_in, h.created_at, h.expires_at, h.state, h.settled,"
    " h.closed_at, h.user_id, h.entry_id, e.cause_key as settled_by, e.balance_after, e.version"
    " from credit_holds h left join credit_entries e on e.team_id = h.team_id and e.id = h.entry_id"
    " where h.team_id = :team_id"
)
FIND_HOLD = Statement(f"{_FIND} and h.id = :hold_id")
FIND_HOLD_OF_CAUSE = Statement(f"{_FIND} and h.cause_key = :cause_key")


@dataclass(frozen=True)
class Held:
    """A hold as it is now. Amounts are credits; `quantity` of `meter` is what they are held for, if it is a meter, and
    `user_id` the member.

    `state` is open, settled, released or expired; `settled` is what was spent of it. `new` is whether this very call
    has made it.
    """

    id: str
    amount: int
    meter: str | None
    quantity: int | None
    expires_in: timedelta
    created_at: datetime
    expires_at: datetime
    state: str
    settled: int = 0
    closed_at: datetime | None = None
    user_id: str | None = None
    new: bool = False
    # It leaves fewer credits than the threshold of an auto-purchase: `auto_purchase.intend_if_crossed` is to be called.
    needs_purchase: bool = field(default=False, compare=False)


def hold(
    team_id: str,
    amount: int,
    cause_key: str,
    expires_in: timedelta,
    *,
    meter: str | None = None,
    quantity: int | None = None,
    api_key_id: str | None = None,
    user_id: str | None = None,
) -> Held:
    """Keep `amount` credits for a use under way, whole or not at all, from the lots in spending order.

    The same cause with the same request again returns the hold as it is now and holds nothing more (I8). Raises
    `InsufficientCredits` (after which only what was due is written), `CauseConflict` if the cause stands for something
    else, and `ValueError` or `TypeError` for what is no amount, no key or no such time.
    """
    check_amount(amount)
    check_cause(cause_key)
    if not EXPIRES_IN_MIN <= expires_in <= EXPIRES_IN_MAX:
        raise ValueError(f"a hold lasts from {EXPIRES_IN_MIN} to {EXPIRES_IN_MAX}, not {expires_in}")
    lock_account(team_id)
    book, known = load_book_with_cause(team_id, cause_key)
    if known:
        return _known_hold(book, cause_key, (amount, meter, quantity, expires_in, user_id))
    book.post_due()
    try:
        parts = book.hold(amount)
    except InsufficientCredits:
        save_book(book)
        raise
    save_book(book)
    made = Held(
        new_id(PREFIX),
        amount,
        meter,
        quantity,
        expires_in,
        book.now,
        book.now + expires_in,
        "open",
        user_id=user_id,
        new=True,
        needs_purchase=book.needs_purchase,
    )
    _insert(book, made, cause_key, parts, api_key_id)
    return made


def settle(team_id: str, hold_id: str, amount: int, cause_key: str) -> Spent:
    """Spend `amount` of what is held, at most all of it, and give back the rest.

    The same cause for the same hold and amount returns the first answer (I8). Raises `UnknownHold`, `HoldClosed` (it
    was settled otherwise, released or has expired), `CauseConflict` if the cause stands for something else, and
    `ValueError` or `TypeError` for what is no amount, more than is held, or no key.
    """
    check_amount(amount)
    check_cause(cause_key)
    lock_account(team_id)
    book, known = load_book_with_cause(team_id, cause_key)
    found = _find(team_id, hold_id)
    if known:
        if (found.settled_by, found.settled) != (cause_key, amount):
            raise CauseConflict(f"{cause_key!r} already stands for something else")
        return Spent(balance=found.balance_after, version=found.version, entry_id=found.entry_id)
    if amount > found.amount:
        raise ValueError(f"{hold_id} holds {found.amount} credits, so {amount} cannot be settled")
    book.post_due()
    opened = load_open_hold(book, hold_id)
    if opened is None:
        save_book(book)
        raise HoldClosed(hold_id, _find(team_id, hold_id).state)
    posting = book.settle(opened, amount, cause_key)
    entry_ids = save_entries(book)
    return Spent(posting.balance_after, posting.version, entry_ids[posting.version], at=book.now)


def release(team_id: str, hold_id: str) -> Held:
    """Give back all that is held. One that was released already stays so. Raises `UnknownHold` and `HoldClosed`."""
    lock_account(team_id)
    _find(team_id, hold_id)
    book = locked_book(team_id)
    book.post_due()
    opened = load_open_hold(book, hold_id)
    if opened is not None:
        book.release(opened)
    save_book(book)
    found = as_held(_find(team_id, hold_id))
    if found.state != "released":
        raise HoldClosed(hold_id, found.state)
    return found


def _known_hold(book: Book, cause_key: str, asked: tuple[int, str | None, int | None, timedelta, str | None]) -> Held:
    rows = send(FIND_HOLD_OF_CAUSE, team_id=book.team_id, cause_key=cause_key)
    if rows:
        known = as_held(rows[0])
        if (known.amount, known.meter, known.quantity, known.expires_in, known.user_id) == asked:
            return known
    raise CauseConflict(f"{cause_key!r} already stands for something else")


def _insert(book: Book, made: Held, cause_key: str, parts: dict[int, int], api_key_id: str | None) -> None:
    values = {
        "id": made.id,
        "team_id": book.team_id,
        "cause_key": cause_key,
        "amount": made.amount,
        "meter": made.meter,
        "quantity": made.quantity,
        "expires_in": made.expires_in,
        "created_at": made.created_at,
        "expires_at": made.expires_at,
        "spend_order": book.spend_order,
        "opened_version": book.version,
        "api_key_id": api_key_id,
        "user_id": made.user_id,
        "parts": json.dumps([{"grant_id": grant_id, "amount": part} for grant_id, part in parts.items()]),
    }
    send(INSERT_HOLD, **values)


def _find(team_id: str, hold_id: str) -> Row:
    rows = send(FIND_HOLD, team_id=team_id, hold_id=hold_id) if is_id(PREFIX, hold_id) else []
    if not rows:
        raise UnknownHold(f"{team_id} has no hold {hold_id!r}")
    return rows[0]


def as_held(row: Row | CreditHold) -> Held:
    """The hold that a row is."""
    return Held(
        id=row.id,
        amount=row.amount,
        meter=row.meter,
        quantity=row.quantity,
        expires_in=row.expires_in,
        created_at=row.created_at,
        expires_at=row.expires_at,
        state=row.state,
        settled=row.settled,
        closed_at=row.closed_at,
        user_id=row.user_id,
    )
