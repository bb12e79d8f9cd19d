"""How a book is read from the tables and its postings are written to them. For `ledger.py` and the reads only.

The statements are plain SQL on purpose: this is the hot path, and each of them is one round trip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from flask import current_app

from portal.core.clock import APP_NOW
from portal.core.database import db, send
from portal.core.statements import Row, Statement
from portal.credits.book import Book, Hold, Lot
from portal.credits.errors import LedgerError
from portal.credits.models import SPEND_ORDERS, STEP_BACK

OPEN_ACCOUNT = Statement("insert into credit_accounts (team_id) values (:team_id) on conflict do nothing")

LOCK_ACCOUNT = Statement("select 1 from credit_accounts where team_id = :team_id for update")

# One statement, so that account and lots are of one instant. A clock that is put back a little, as clocks are when they
# are set right, does not take an account's time with it: nothing happens twice or before its time, and entries stay in
# the order of their times. A clock that went far ahead was wrong then, and is believed when it is right again.
_BOOK = (
    " case when a.as_of between clock.now and clock.now + cast(:step_back as interval) then a.as_of"  # noqa: S608  ours
    " else clock.now end as now,"
    " a.available, a.reserved, a.debt, a.version, a.purchase_below, a.purchase_counts,"
    # By the parameter and not by the account's row, so that it is looked up once and not for each lot.
    " case when a.reserved > 0 then (select min(h.expires_at) from credit_holds h"
    "  where h.team_id = :team_id and h.state = 'open') end as hold_due_at,"
    " g.id, g.kind, g.amount, g.remaining, g.effective_at, g.expires_at, g.state, g.cause_key, g.source,"
    " g.held, g.lapsed_version, g.frozen"
    f" from (select {APP_NOW} as now) clock cross join credit_accounts a"
    " left join credit_grants g on g.team_id = a.team_id and g.state in ('waiting', 'live')"
    " where a.team_id = :team_id"
)
LOAD = Statement("select" + _BOOK)

# A cause may stand as a grant that has not started, as an order to reverse that came to nothing, as credits that are
# held, or as an entry.
_KNOWN = (
    "select 'entry' as what, id, kind, amount, version, balance_after, grant_id"
    " from credit_entries where team_id = :team_id and cause_key = :cause_key"
    " union all select 'grant', id, kind, amount, null, null, id"
    " from credit_grants where team_id = :team_id and cause_key = :cause_key"
    " union all select 'reversal', id, null, amount, null, null, grant_id"
    " from credit_reversals where team_id = :team_id and cause_key = :cause_key"
    " union all select 'hold', null, null, amount, null, null, null"
    " from credit_holds where team_id = :team_id and cause_key = :cause_key"
    " union all select 'freeze', id, null, amount, null, null, grant_id"
    " from credit_freezes where team_id = :team_id and cause_key = :cause_key"
)
FIND_CAUSE = Statement(_KNOWN)
LOAD_WITH_CAUSE = Statement(
    "select (select json_object_agg(what,"  # noqa: S608  all of it is ours
    " json_build_array(id, kind, amount, version, balance_after, grant_id))"
    f" from ({_KNOWN}) known) as known,{_BOOK}"
)

LOAD_WITH_CAUSES = Statement(
    "select (select json_agg("  # noqa: S608  all of it is ours
    "json_build_array(cause_key, what, id, kind, amount, version, balance_after, grant_id)) from ("
    + _KNOWN.replace("select 'entry'", "select cause_key, 'entry'")
    .replace("all select '", "all select cause_key, '")
    .replace("cause_key = :cause_key", "cause_key = any(cast(:cause_keys as text[]))")
    + f") known) as known,{_BOOK}"
)

WAITING_REVERSALS = Statement(
    "select grant_id, cause_key, amount from credit_reversals"
    " where team_id = :team_id and grant_id = any(cast(:grant_ids as bigint[])) order by id"
)
WAITING_FREEZES = Statement(
    "select grant_id, cause_key, amount from credit_freezes"
    " where team_id = :team_id and grant_id = any(cast(:grant_ids as bigint[])) order by id"
)

SAVE = Statement(
    "with posted as ("
    "  insert into credit_entries"
    "    (team_id, version, kind, amount, balance_after, cause_key, grant_id, spend_order, at)"
    "  select :team_id, p.version, p.kind, p.amount, p.balance_after, p.cause_key, p.grant_id, p.spend_order, :at"
    "  from json_to_recordset(cast(:postings as json)) as p (version bigint, kind text, amount bigint,"
    "    balance_after bigint, cause_key text, grant_id bigint, spend_order text)"
    "  order by p.version"
    "  returning id, version"
    "), taken as ("
    "  insert into credit_consumptions (team_id, entry_id, grant_id, amount)"
    "  select :team_id, posted.id, t.grant_id, t.amount"
    "  from json_to_recordset(cast(:takes as json)) as t (version bigint, grant_id bigint, amount bigint)"
    "  join posted using (version)"
    "  returning 1"
    "), lots as ("
    "  update credit_grants g set remaining = l.remaining, state = l.state, held = l.held, frozen = l.frozen,"
    "    lapsed_version = l.lapsed_version"
    "  from json_to_recordset(cast(:lots as json))"
    "    as l (id bigint, remaining bigint, state text, held bigint, frozen bigint, lapsed_version bigint)"
    "  where g.team_id = :team_id and g.id = l.id"
    "  returning 1"
    "), account as ("
    "  update credit_accounts set available = :available, reserved = :reserved, debt = :debt, version = :version,"
    "    as_of = case when version < :version then :at else as_of end"
    "  where team_id = :team_id and version = :version_before"
    "  returning 1"
    ")"
    " select (select json_agg(json_build_array(version, id)) from posted) as entries,"
    "  (select count(*) from taken) as takes,"
    "  (select count(*) from lots) as lots, (select count(*) from account) as accounts"
)

# The holds of a book that are due, or one by its name, with every part and its lot.
_HOLDS = (
    "select h.id as hold_id, h.expires_at as held_until, p.amount as part,"
    " g.id, g.kind, g.amount, g.remaining, g.effective_at, g.expires_at, g.state, g.cause_key, g.source,"
    " g.held, g.lapsed_version, g.frozen"
    " from credit_holds h join credit_hold_lots p on p.team_id = h.team_id and p.hold_id = h.id"
    " join credit_grants g on g.team_id = p.team_id and g.id = p.grant_id"
    " where h.team_id = :team_id and h.state = 'open'"
)
LOAD_DUE_HOLDS = Statement(f"{_HOLDS} and h.expires_at <= :now order by h.expires_at, h.id")
LOAD_HOLD = Statement(f"{_HOLDS} and h.id = :hold_id")

CLOSE_HOLDS = Statement(
    "with closing as ("
    "  select * from json_to_recordset(cast(:holds as json)) as c (id text, state text, settled bigint,"
    "    entry_version bigint, closed_version bigint)"
    "), closed as ("
    "  update credit_holds h set state = c.state, settled = c.settled, closed_at = :at,"
    "    closed_version = c.closed_version, entry_id ="
    "      (select e.id from credit_entries e where e.team_id = :team_id and e.version = c.entry_version)"
    "  from closing c where h.team_id = :team_id and h.id = c.id and h.state = 'open'"
    "  returning 1"
    "), repaid as ("
    "  update credit_hold_lots p set repaid = r.amount"
    "  from json_to_recordset(cast(:repaid as json)) as r (hold_id text, grant_id bigint, amount bigint)"
    "  where p.team_id = :team_id and p.hold_id = r.hold_id and p.grant_id = r.grant_id"
    "  returning 1"
    ")"
    " select (select count(*) from closed) as holds, (select count(*) from repaid) as repaid"
)


def spend_order() -> str:
    """By which rule lots are spent, from the catalog: `expiry` (what ends first) or `kind` (the plan's first)."""
    order = str(current_app.config.get("SPEND_ORDER", "expiry"))
    if order not in SPEND_ORDERS:
        raise LedgerError(f"the spending order {order!r} is unknown; it must be one of {', '.join(SPEND_ORDERS)}")
    return order


def lock_account(team_id: str) -> None:
    """Wait for the account's lock as a statement of its own: the next one then sees all that was done before it.

    Opens the account if the team has none. Raises `OperationalError` after the connection's lock time-out.
    """
    db.session.flush()
    if send(LOCK_ACCOUNT, team_id=team_id):
        return
    send(OPEN_ACCOUNT, team_id=team_id)
    if not send(LOCK_ACCOUNT, team_id=team_id):
        raise LedgerError(f"{team_id}: the account could not be opened")


class Known(NamedTuple):
    """What a cause stands for already: an entry, a grant, an order to reverse, or one to freeze or thaw."""

    id: int
    kind: str | None
    amount: int
    version: Any  # this and the balance only entries have
    balance_after: Any
    grant_id: int | None


def load_book(team_id: str) -> Book | None:
    """The team's book as of now, or None when it has no account. Whoever wants to write holds the lock already."""
    rows = send(LOAD, team_id=team_id, step_back=STEP_BACK)
    return _book_of(team_id, rows) if rows else None


def load_book_with_cause(team_id: str, cause_key: str) -> tuple[Book, dict[str, Known]]:
    """In one round trip: the team's book as of now, and what the cause stands for already. The lock is held.

    Raises `LedgerError` when there is no account.
    """
    rows = send(LOAD_WITH_CAUSE, team_id=team_id, step_back=STEP_BACK, cause_key=cause_key)
    if not rows:
        raise _vanished(team_id)
    known = {what: Known(*values) for what, values in (rows[0].known or {}).items()}
    return _book_of(team_id, rows), known


def load_book_with_causes(team_id: str, cause_keys: Sequence[str]) -> tuple[Book, dict[str, dict[str, Known]]]:
    """As `load_book_with_cause` for many: by cause, what it stands for already."""
    rows = send(LOAD_WITH_CAUSES, team_id=team_id, step_back=STEP_BACK, cause_keys=list(cause_keys))
    if not rows:
        raise _vanished(team_id)
    known: dict[str, dict[str, Known]] = {}
    for cause_key, what, *values in rows[0].known or ():
        known.setdefault(cause_key, {})[what] = Known(*values)
    return _book_of(team_id, rows), known


def locked_book(team_id: str) -> Book:
    """The book of an account whose lock is held. Raises `LedgerError` when there is none."""
    book = load_book(team_id)
    if book is None:
        raise _vanished(team_id)
    return book


def find_cause(team_id: str, cause_key: str) -> dict[str, Known]:
    """What the cause stands for already."""
    return {row[0]: Known._make(row[1:]) for row in send(FIND_CAUSE, team_id=team_id, cause_key=cause_key)}


def _vanished(team_id: str) -> LedgerError:
    return LedgerError(f"{team_id}: the account has vanished under its lock")


def _book_of(team_id: str, rows: Sequence[Row]) -> Book:
    first = rows[0]
    book = Book(
        team_id=team_id,
        available=first.available,
        reserved=first.reserved,
        debt=first.debt,
        version=first.version,
        now=first.now,
        spend_order=spend_order(),
        lots={row.id: lot_from(row) for row in rows if row.id is not None},
        purchase_below=first.purchase_below,
        purchase_counts=first.purchase_counts,
    )
    _add_waiting_orders(book)
    if first.hold_due_at is not None and first.hold_due_at <= book.now:
        _add_holds(book, send(LOAD_DUE_HOLDS, team_id=team_id, now=book.now))
    return book


def lot_from(row: Row) -> Lot:
    """A grant's row as a lot."""
    return Lot(
        id=row.id,
        kind=row.kind,
        amount=row.amount,
        remaining=row.remaining,
        effective_at=row.effective_at,
        expires_at=row.expires_at,
        state=row.state,
        cause_key=row.cause_key,
        source=row.source,
        held=row.held,
        lapsed_version=row.lapsed_version,
        frozen=row.frozen,
    )


def load_open_hold(book: Book, hold_id: str) -> Hold | None:
    """The open hold of this name, brought into the book with its lots; None when there is none. The lock is held."""
    if hold_id not in book.holds:
        _add_holds(book, send(LOAD_HOLD, team_id=book.team_id, hold_id=hold_id))
    hold = book.holds.get(hold_id)
    return hold if hold is not None and hold.state == "open" else None


def _add_holds(book: Book, rows: Sequence[Row]) -> None:
    """A lot that lapsed is none of the book's open ones, and comes with the hold that still has a part in it."""
    for row in rows:
        hold = book.holds.setdefault(row.hold_id, Hold(row.hold_id, {}, row.held_until))
        hold.parts[row.id] = row.part
        if row.id not in book.lots:
            book.lots[row.id] = lot_from(row)


def _add_waiting_orders(book: Book) -> None:
    starting = [lot.id for lot in book.lots.values() if lot.state == "waiting" and lot.effective_at <= book.now]
    if not starting:
        return
    for row in send(WAITING_REVERSALS, team_id=book.team_id, grant_ids=starting):
        book.lots[row.grant_id].reversals.append((row.cause_key, row.amount))
    for row in send(WAITING_FREEZES, team_id=book.team_id, grant_ids=starting):
        book.lots[row.grant_id].freezes.append((row.cause_key, row.amount))


def save_book(book: Book) -> int:
    """Write what was posted and forget it; returns the id of the last entry, or 0 when there was none."""
    return max(save_entries(book).values(), default=0)


def save_entries(book: Book) -> dict[int, int]:
    """Write what was posted and forget it; returns the ids of the entries by their versions.

    One statement writes entries, consumptions, lots and account together. Raises `LedgerError` if the account is not
    at the version the book was loaded at: somebody would have written without holding the lock.
    """
    if not book.postings and not book.touched:
        return {}
    row = send(SAVE, **_save_parameters(book))[0]
    expected = (sum(len(posting.takes) for posting in book.postings), len(book.touched), 1)
    if (row.takes, row.lots, row.accounts) != expected:
        raise LedgerError(f"{book.team_id}: the account was written without its lock")
    _close_holds(book)
    book.postings.clear()
    book.touched.clear()
    return dict(row.entries or ())


def _close_holds(book: Book) -> None:
    """Write the holds that were closed, and forget them."""
    closed = [hold for hold in book.holds.values() if hold.state != "open"]
    if not closed:
        return
    holds = [
        {
            "id": hold.id,
            "state": hold.state,
            "settled": hold.settled,
            "entry_version": hold.entry_version,
            "closed_version": hold.closed_version,
        }
        for hold in closed
    ]
    repaid = [
        {"hold_id": hold.id, "grant_id": lot_id, "amount": amount}
        for hold in closed
        for lot_id, amount in hold.repaid.items()
    ]
    row = send(CLOSE_HOLDS, team_id=book.team_id, at=book.now, holds=json.dumps(holds), repaid=json.dumps(repaid))[0]
    if (row.holds, row.repaid) != (len(holds), len(repaid)):
        raise LedgerError(f"{book.team_id}: a hold was closed without the account's lock")
    for hold in closed:
        del book.holds[hold.id]


def _save_parameters(book: Book) -> dict[str, Any]:
    """The rows go as JSON, which takes the driver a fraction of what as many arrays do."""
    postings = book.postings
    entries = [
        {
            "version": posting.version,
            "kind": posting.kind,
            "amount": posting.amount,
            "balance_after": posting.balance_after,
            "cause_key": posting.cause_key,
            "grant_id": posting.grant_id,
            "spend_order": posting.spend_order,
        }
        for posting in postings
    ]
    takes = [
        {"version": posting.version, "grant_id": grant_id, "amount": amount}
        for posting in postings
        for grant_id, amount in posting.takes
    ]
    touched = [
        {
            "id": lot.id,
            "remaining": lot.remaining,
            "state": lot.state,
            "held": lot.held,
            "frozen": lot.frozen,
            "lapsed_version": lot.lapsed_version,
        }
        for lot in (book.lots[lot_id] for lot_id in sorted(book.touched))
    ]
    return {
        "team_id": book.team_id,
        "at": book.now,
        "postings": json.dumps(entries),
        "takes": json.dumps(takes),
        "lots": json.dumps(touched),
        "available": book.available,
        "reserved": book.reserved,
        "debt": book.debt,
        "version": book.version,
        "version_before": book.version - len(postings),
    }
