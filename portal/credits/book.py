"""The rules of a credit account, without a database: a book of open lots to which postings are made.

The ledger loads a book under the account's lock, acts on it and saves the postings. A read loads one without the lock,
posts what is due in memory only, and so shows exactly what the next writer will write. Amounts are credits.

Holds. To hold credits moves them from `available` to `reserved` and marks them as `held` in their lots, in spending
order; the balance does not change, so there is no entry. A hold is closed once: settled (what was used of it is spent
from its own lots, the rest is given back), released, or expired (all is given back). What a hold keeps, nobody else
takes: no spend, no refund and no expiry.

- What is given back repays debt first (I2), which a refund may have made meanwhile: it takes what is free and lets the
  hold be. Otherwise it is available again if its lot is live. Neither changes the balance, so there is no entry for
  it: the hold's rows say how much of which lot was repaid.
- A lot whose time is over while some of it is held *lapses*: it has `ended`, what is free of it moves to `reserved`,
  and when the last hold on it is closed, all that is left of it expires in its one entry (I10). So `reserved` is what
  is held of live lots and all that remains of lapsed ones, and `available` what is free of live lots (I1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from portal.credits.errors import CreditOverflow, InsufficientCredits, LedgerError
from portal.credits.models import KIND_RANK

BALANCE_MAX = 2**63 - 1

# How the causes of what auto-purchase has bought begin.
AUTO_PURCHASE = "auto:"

SortKey = Callable[["Lot"], tuple[object, ...]]
Takes = list[tuple[int, int]]
Due = tuple[tuple[datetime, int, int, int], Callable[[Any], None], "Lot | Hold"]

_NEVER = datetime.max.replace(tzinfo=UTC)

# The cause of what was thawed only because its lot ended, followed by the lot's id.
THAWED_AT_END = "expire:thaw:grant:"


@dataclass(slots=True)
class Lot:
    """An open grant: `waiting` for its start or `live`, or `ended` while some of it is held.

    `frozen` is the part of what remains that cannot be spent, `held` the part that open holds keep. `reversals` and
    `freezes` are orders that wait for the start with it; an order to freeze less than nothing thaws. `lapsed_version` is
    the account's version when the lot ended with a part that was held.
    """

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
    held: int = 0
    frozen: int = 0
    freezes: list[tuple[str, int]] = field(default_factory=list)
    lapsed_version: int | None = None

    @property
    def free(self) -> int:
        """What of it can be spent: what nobody holds and nothing has frozen."""
        return self.remaining - self.held - self.frozen


@dataclass(slots=True)
class Hold:
    """An open hold; `parts` says how much of which lot it holds. The other fields are set when it is closed.

    `repaid` says how much of which lot went to the debt, `entry_version` which entry settled it.
    """

    id: str
    parts: dict[int, int]
    expires_at: datetime
    state: str = "open"
    settled: int = 0
    repaid: dict[int, int] = field(default_factory=dict)
    entry_version: int | None = None
    closed_version: int | None = None


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
    holds: dict[str, Hold] = field(default_factory=dict)
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
        return sum(lot.free for lot in own) - self.debt

    def post_due(self) -> None:
        """Post every start and expiry up to now, in the order of their moments (I1: what is live is what counts).

        At one moment, what ends goes before what begins, so that no balance on the way shows two periods at once.
        """
        for _place, act, lot in sorted(self._due(), key=lambda due: due[0]):
            act(lot)

    def _due(self) -> list[Due]:
        due: list[Due] = []
        for number, hold in enumerate(self.holds.values()):
            if hold.state == "open" and hold.expires_at <= self.now:
                # Before anything else of its moment, so that a lot that ends then has back what was held of it.
                due.append(((hold.expires_at, -1, number, 0), self._expire_hold, hold))
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
        for cause_key, amount in lot.freezes:
            self.freeze_or_thaw(lot, amount, cause_key)

    def _expire(self, lot: Lot) -> None:
        """End a lot whose time is over. One that was used up before stays so, whether or not somebody looked then."""
        if lot.state == "live":
            self.end(lot)

    def end(self, lot: Lot) -> None:
        """End a lot: what remains of it expires in one entry (I10), or in none if nothing remains or it never began.

        What is frozen of it ends with it, and is thawed for that, so that everything that ends was counted.
        """
        self.thaw(lot, lot.frozen, f"{THAWED_AT_END}{lot.id}")
        if lot.state == "live" and lot.held:
            self._lapse(lot)
            return
        if rest := lot.remaining if lot.state == "live" else 0:
            takes = self._take(lot, rest)
            self._post("expired", -rest, f"expire:grant:{lot.id}", lot, takes)
        lot.state, lot.remaining = "ended", 0
        self.touched.add(lot.id)

    def _lapse(self, lot: Lot) -> None:
        """End a lot of which some is held: its one entry waits for the last hold on it."""
        lot.state, lot.lapsed_version = "ended", self.version
        self.available -= lot.free
        self.reserved += lot.free
        self.touched.add(lot.id)

    def spend(self, amount: int, cause_key: str) -> Posting:
        """Take `amount` from the live lots in spending order (I5), whole or not at all (I4)."""
        if amount > self.available:
            raise self.insufficient(amount)
        takes = self._take_in_order(amount)
        return self._post("spent", -amount, cause_key, None, takes)

    def insufficient(self, cost: int) -> InsufficientCredits:
        """What refuses a spend or a hold that costs more than is available."""
        buys = self.purchase_below is not None
        return InsufficientCredits(self.available, cost, debt=self.debt, reserved=self.reserved, buys=buys)

    def take_back(self, lot: Lot, amount: int, cause_key: str) -> None:
        """Reverse `amount` of a lot: what remains of it first, then other live lots in order, then debt (I2).

        What is frozen, of this lot or of another, is not touched: a dispute decides what becomes of that.
        """
        if not amount:
            return
        own = min(lot.free, amount) if lot.state in ("live", "ended") else 0
        takes = self._take(lot, own)
        others = min(self.available, amount - own)
        takes += self._take_in_order(others)
        owed = amount - own - others
        if self.debt + owed > BALANCE_MAX:
            raise CreditOverflow("the debt would pass the largest balance")
        self.debt += owed
        self._post("reversed", -amount, cause_key, lot, takes)

    def hold(self, amount: int) -> dict[int, int]:
        """Hold `amount` of the live lots in spending order, whole or not at all; returns how much of which lot."""
        if amount > self.available:
            raise self.insufficient(amount)
        parts: dict[int, int] = {}
        left = amount
        for lot in self._in_order(lot for lot in self.lots.values() if lot.state == "live" and lot.free):
            parts[lot.id] = min(lot.free, left)
            lot.held += parts[lot.id]
            left -= parts[lot.id]
            self.touched.add(lot.id)
            if not left:
                break
        if left:
            raise self._lots_differ()
        self.available -= amount
        self.reserved += amount
        return parts

    def settle(self, hold: Hold, amount: int, cause_key: str) -> Posting:
        """Spend `amount` of a hold from its own lots in spending order, and give back the rest of it."""
        left, takes, rest = amount, list[tuple[int, int]](), dict[int, int]()
        for lot in self._in_order(self.lots[lot_id] for lot_id in hold.parts):
            part = min(hold.parts[lot.id], left)
            rest[lot.id] = hold.parts[lot.id] - part
            left -= part
            if not part:
                continue
            takes.append((lot.id, part))
            lot.held -= part
            lot.remaining -= part
            self.reserved -= part
            if not lot.remaining and lot.state == "live":
                lot.state = "used"
        posting = self._post("spent", -amount, cause_key, None, takes)
        hold.settled, hold.entry_version = amount, posting.version
        self._close(hold, "settled", rest)
        return posting

    def release(self, hold: Hold) -> None:
        """Give back all of a hold."""
        self._close(hold, "released", hold.parts)

    def _expire_hold(self, hold: Hold) -> None:
        self._close(hold, "expired", hold.parts)

    def _close(self, hold: Hold, state: str, rest: dict[int, int]) -> None:
        hold.state, hold.closed_version = state, self.version
        lots = self._in_order(self.lots[lot_id] for lot_id in hold.parts)
        for lot in lots:
            self._give_back(hold, lot, rest[lot.id])
        for lot in lots:
            if lot.state == "ended" and lot.remaining and not lot.held:
                left = lot.remaining
                self._post("expired", -left, f"expire:grant:{lot.id}", lot, self._take(lot, left))

    def _give_back(self, hold: Hold, lot: Lot, amount: int) -> None:
        """What comes back repays debt first (I2), then a live lot has it again; in a lapsed one it waits for the end."""
        repaid = min(self.debt, amount)
        self.debt -= repaid
        self.reserved -= repaid
        lot.held -= amount
        lot.remaining -= repaid
        if repaid:
            hold.repaid[lot.id] = repaid
        if lot.state == "live":
            self.reserved -= amount - repaid
            self.available += amount - repaid
            if not lot.remaining:
                lot.state = "used"
        self.touched.add(lot.id)

    def freeze_or_thaw(self, lot: Lot, amount: int, cause_key: str) -> int:
        """Freeze `amount` of a live lot, or thaw it where it is below 0; returns how many credits that came to."""
        return self.freeze(lot, amount, cause_key) if amount > 0 else self.thaw(lot, -amount, cause_key)

    def freeze(self, lot: Lot, amount: int, cause_key: str) -> int:
        """Put up to `amount` of what can be spent of a lot out of reach. What was spent already is not made up for,
        and what is held stays with its hold.
        """
        frozen = min(amount, lot.free) if lot.state == "live" else 0
        if frozen:
            lot.frozen += frozen
            self.available -= frozen
            self.touched.add(lot.id)
            self._post("frozen", -frozen, cause_key, lot, [])
        return frozen

    def thaw(self, lot: Lot, amount: int, cause_key: str) -> int:
        """Let up to `amount` of a lot be spent again. Like new credits they repay debt first (I2)."""
        thawed = min(amount, lot.frozen)
        if thawed:
            lot.frozen -= thawed
            repaid = min(self.debt, thawed)
            self.debt -= repaid
            self.available += thawed
            self.touched.add(lot.id)
            self._post("thawed", thawed, cause_key, lot, self._take(lot, repaid))
        return thawed

    def _in_order(self, lots: Iterable[Lot]) -> list[Lot]:
        return sorted(lots, key=SORT_KEYS[self.spend_order])

    def _take_in_order(self, amount: int) -> Takes:
        takes: Takes = []
        for lot in self._in_order(lot for lot in self.lots.values() if lot.state == "live"):
            part = min(lot.free, amount)
            takes += self._take(lot, part)
            amount -= part
            if not amount:
                break
        if amount:
            raise self._lots_differ()
        return takes

    def _lots_differ(self) -> LedgerError:
        return LedgerError(f"{self.team_id}: what is available and what the live lots hold differ")

    def _take(self, lot: Lot, amount: int) -> Takes:
        """Use up part of what is free of a lot; a live lot of which nothing remains is `used`."""
        if not amount:
            return []
        lot.remaining -= amount
        if lot.state == "ended":
            self.reserved -= amount
        else:
            self.available -= amount
        if not lot.remaining and lot.state == "live":
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
