"""The rules of a credit account, without a database: a book of open lots to which postings are made.

The ledger loads a book under the account's lock, acts on it and saves the postings. A read loads one without the lock,
posts what is due in memory only, and so shows exactly what the next writer will write. Amounts are credits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from portal.credits.errors import CreditOverflow, InsufficientCredits, LedgerError
from portal.credits.models import KIND_RANK

BALANCE_MAX = 2**63 - 1

# How the causes of what auto-purchase has bought begin.
AUTO_PURCHASE = "auto:"

SortKey = Callable[["Lot"], tuple[object, ...]]
Takes = list[tuple[int, int]]
Due = tuple[tuple[datetime, int, int, int], Callable[["Lot"], None], "Lot"]

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Lot:
    """An open grant: `waiting` for its start or `live`. `reversals` are orders that wait for the start with it."""

    id: int
    kind: str
    amount: int
    remaining: int
    effective_at: datetime
    expires_at: datetime | None
    state: str
    cause_key: str
    source: str = ""
    reversals: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Posting:
    """An entry to be: `takes` are pairs of lot and credits, the consumptions it will have."""

    version: int
    kind: str
    amount: int
    balance_after: int
    cause_key: str
    grant_id: int | None
    spend_order: str | None
    takes: Takes


def _by_expiry(lot: Lot) -> tuple[object, ...]:
    return (lot.expires_at or _NEVER, KIND_RANK[lot.kind], lot.id)


def _by_kind(lot: Lot) -> tuple[object, ...]:
    return (KIND_RANK[lot.kind], lot.expires_at or _NEVER, lot.id)


SORT_KEYS: dict[str, SortKey] = {"expiry": _by_expiry, "kind": _by_kind}


@dataclass(slots=True)
class Book:
    """One account at one instant. `now` decides every start and expiry, and is the time of every posting."""

    team_id: str
    available: int
    reserved: int
    debt: int
    version: int
    now: datetime
    spend_order: str
    lots: dict[int, Lot]
    postings: list[Posting] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    # The threshold of an auto-purchase that waits to be begun, and of what it is one; None while none does.
    purchase_below: int | None = None
    purchase_counts: str | None = None

    @property
    def balance(self) -> int:
        return self.available + self.reserved - self.debt

    @property
    def needs_purchase(self) -> bool:
        """Whether fewer credits are left than the threshold of an auto-purchase that waits to be begun."""
        return self.purchase_below is not None and self.counted(self.purchase_counts) < self.purchase_below

    def counted(self, counts: str | None) -> int:
        """What an auto-purchase's threshold is compared with, less what is owed: negative while there is debt.

        `total` is all that is available. `subscription` is what the plan gave and what auto-purchase itself has bought:
        other bundles and gifts are a reserve that is not counted.
        """
        if counts != "subscription":
            return self.available - self.debt
        live = (lot for lot in self.lots.values() if lot.state == "live")
        own = (lot for lot in live if lot.kind == "subscription" or lot.cause_key.startswith(AUTO_PURCHASE))
        return sum(lot.remaining for lot in own) - self.debt

    def post_due(self) -> None:
        """Post every start and expiry up to now, in the order of their moments (I1: what is live is what counts).

        At one moment, what ends goes before what begins, so that no balance on the way shows two periods at once.
        """
        for _place, act, lot in sorted(self._due(), key=lambda due: due[0]):
            act(lot)

    def _due(self) -> list[Due]:
        due: list[Due] = []
        for lot in self.lots.values():
            if lot.state == "waiting":
                if lot.effective_at > self.now:
                    continue
                due.append(((lot.effective_at, 1, lot.id, 0), self._start, lot))
            if lot.expires_at is not None and lot.expires_at <= self.now:
                # A lot that was over when it was recorded may have its start and its end at one moment, in this order.
                place = (0, lot.id, 0) if lot.expires_at > lot.effective_at else (1, lot.id, 1)
                due.append(((lot.expires_at, *place), self._expire, lot))
        return due

    def _start(self, lot: Lot) -> None:
        """Make a lot live. Debt is repaid from it first (I2), which counts as using that part of it up."""
        repaid = min(self.debt, lot.amount)
        self.debt -= repaid
        self.available += lot.amount
        lot.state = "live"
        self.touched.add(lot.id)
        takes = self._take(lot, repaid)
        self._post("adjusted" if lot.kind == "adjustment" else "granted", lot.amount, lot.cause_key, lot, takes)
        left = lot.amount
        for cause_key, amount in lot.reversals:
            taken = min(amount, left)
            left -= taken
            self.take_back(lot, taken, cause_key)

    def _expire(self, lot: Lot) -> None:
        """End a lot whose time is over. One that was used up before stays so, whether or not somebody looked then."""
        if lot.state == "live":
            self.end(lot)

    def end(self, lot: Lot) -> None:
        """End a lot: what remains of it expires in one entry (I10), or in none if nothing remains or it never began."""
        if lot.state == "live":
            rest = lot.remaining
            takes = self._take(lot, rest)
            self._post("expired", -rest, f"expire:grant:{lot.id}", lot, takes)
        lot.state, lot.remaining = "ended", 0
        self.touched.add(lot.id)

    def spend(self, amount: int, cause_key: str) -> Posting:
        """Take `amount` from the live lots in spending order (I5), whole or not at all (I4)."""
        if amount > self.available:
            raise InsufficientCredits(self.available, amount, buys=self.purchase_below is not None)
        takes = self._take_in_order(amount)
        return self._post("spent", -amount, cause_key, None, takes)

    def take_back(self, lot: Lot, amount: int, cause_key: str) -> None:
        """Reverse `amount` of a lot: what remains of it first, then other live lots in order, then debt (I2)."""
        if not amount:
            return
        own = min(lot.remaining, amount) if lot.state == "live" else 0
        takes = self._take(lot, own)
        others = min(self.available, amount - own)
        takes += self._take_in_order(others)
        owed = amount - own - others
        if self.debt + owed > BALANCE_MAX:
            raise CreditOverflow("the debt would pass the largest balance")
        self.debt += owed
        self._post("reversed", -amount, cause_key, lot, takes)

    def _take_in_order(self, amount: int) -> Takes:
        takes: Takes = []
        live = [lot for lot in self.lots.values() if lot.state == "live"]
        for lot in sorted(live, key=SORT_KEYS[self.spend_order]):
            part = min(lot.remaining, amount)
            takes += self._take(lot, part)
            amount -= part
            if not amount:
                break
        if amount:
            raise LedgerError(f"{self.team_id}: what is available and what the live lots hold differ")
        return takes

    def _take(self, lot: Lot, amount: int) -> Takes:
        """Use up part of a live lot; a lot of which nothing remains is `used`."""
        if not amount:
            return []
        lot.remaining -= amount
        self.available -= amount
        if not lot.remaining:
            lot.state = "used"
        self.touched.add(lot.id)
        return [(lot.id, amount)]

    def _post(self, kind: str, amount: int, cause_key: str, lot: Lot | None, takes: Takes) -> Posting:
        self.version += 1
        posting = Posting(
            version=self.version,
            kind=kind,
            amount=amount,
            balance_after=self.balance,
            cause_key=cause_key,
            grant_id=lot.id if lot else None,
            spend_order=self.spend_order if kind in ("spent", "reversed") else None,
            takes=takes,
        )
        self.postings.append(posting)
        return posting
