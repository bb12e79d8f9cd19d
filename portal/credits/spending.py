"""Many spends of one account under one lock: a part of the ledger, for who has several at hand.

Each is decided when it is asked for, in order, by what the ones before it have left, exactly as if it came alone. One
statement then writes all of them. It runs inside the caller's unit of work and never commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from portal.credits.book import Book
from portal.credits.errors import CauseConflict, InsufficientCredits
from portal.credits.ledger import Spent, check_amount, check_cause, conflict
from portal.credits.storage import Known, load_book_with_causes, lock_account, save_entries


class Spending:
    """Spends of an account whose lock is held, until `save` writes them. What they were asked with must be among `causes`."""

    def __init__(self, team_id: str, causes: Sequence[str]) -> None:
        """Read the account's book as of now and what the causes stand for already."""
        for cause in causes:
            check_cause(cause)
        found = load_book_with_causes(team_id, causes)
        self._book: Book = found[0]
        self.known: dict[str, dict[str, Known]] = found[1]
        self._made: dict[str, tuple[int, Spent]] = {}
        self._book.post_due()

    @property
    def needs_purchase(self) -> bool:
        """Whether there is a spend among them, and fewer credits are left than the threshold of an auto-purchase."""
        return bool(self._made) and self._book.needs_purchase

    @property
    def available(self) -> int:
        """How many credits can be spent after the spends so far."""
        return self._book.available

    @property
    def now(self) -> datetime:
        """The time of every spend."""
        return self._book.now

    def spend(self, amount: int, cause_key: str) -> Spent:
        """As `ledger.spend`; the entry has no id yet, and is found by its `version`.

        Raises `InsufficientCredits` and `CauseConflict`, after which the others go on.
        """
        check_amount(amount)
        known = self.known.get(cause_key)
        if known:
            first = known.get("entry")
            if first is None or (first.kind, first.amount) != ("spent", -amount):
                raise conflict(cause_key)
            return Spent(balance=first.balance_after, version=first.version, entry_id=first.id)
        if cause_key in self._made:
            made_amount, made = self._made[cause_key]
            if made_amount != amount:
                raise conflict(cause_key)
            return replace(made, at=None)
        posting = self._book.spend(amount, cause_key)
        spent = Spent(posting.balance_after, posting.version, entry_id=0, at=self.now)
        self._made[cause_key] = amount, spent
        return spent

    def save(self) -> dict[int, int]:
        """Write what was spent, and the starts and expiries that were due; returns the ids of the entries by version."""
        return save_entries(self._book)


def spend_many(team_id: str, wanted: Iterable[tuple[int, str]]) -> list[Spent | InsufficientCredits | CauseConflict]:
    """Spend each (amount, cause key) in order; what one comes to is what `ledger.spend` would return or raise for it.

    Raises `ValueError` or `TypeError` for what is no amount or no key, and has no effect then.
    """
    asked = list(wanted)
    for amount, _cause in asked:
        check_amount(amount)
    lock_account(team_id)
    spending = Spending(team_id, [cause for _amount, cause in asked])
    results = [_result(spending, amount, cause) for amount, cause in asked]
    ids = spending.save()
    return [
        replace(one, entry_id=ids.get(one.version, one.entry_id)) if isinstance(one, Spent) else one for one in results
    ]


def _result(spending: Spending, amount: int, cause: str) -> Spent | InsufficientCredits | CauseConflict:
    try:
        return spending.spend(amount, cause)
    except (InsufficientCredits, CauseConflict) as refused:
        return refused
