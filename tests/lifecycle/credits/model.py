"""A credit account as plain Python would have it: lists of lots, moved one credit at a time, nothing clever.

Written from the rules and not from the ledger, so that the two can be held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

FAR = datetime(9999, 1, 1, tzinfo=UTC)
KIND_ORDER = ["subscription", "gift or adjustment", "bundle"]


@dataclass
class ModelLot:
    number: int
    key: str
    kind: str
    amount: int
    start: datetime
    end: datetime | None
    state: str = "future"
    left: int = 0
    gone: int = 0
    frozen: int = 0
    orders: list[tuple[str, int]] = field(default_factory=list)
    freezes: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class ModelEntry:
    kind: str
    amount: int
    key: str
    balance: int
    at: datetime
    used: Counter[str]


@dataclass
class Model:
    """`seen` is the time of the last entry."""

    order: str = "expiry"
    lots: list[ModelLot] = field(default_factory=list)
    entries: list[ModelEntry] = field(default_factory=list)
    debt: int = 0
    seen: datetime | None = None
    now: datetime | None = None

    @property
    def available(self) -> int:
        return sum(lot.left for lot in self.lots)

    def at(self, moment: datetime) -> Model:
        """Let time come to `moment`, and what is due happen, the earliest first.

        Of a clock that is put back by an hour at most no notice is taken.
        """
        ahead = (self.seen - moment) if self.seen else timedelta()
        self.now = self.seen if timedelta() <= ahead <= timedelta(hours=1) and self.seen else moment
        while due := self._due():
            _when, _rank, _number, happen, lot = min(due, key=lambda item: item[:3])
            happen(lot)
        return self

    def foreseen(self, moment: datetime) -> Model:
        """A copy as of `moment`; this one stays as it is."""
        lots = [replace(lot) for lot in self.lots]
        return replace(self, lots=lots, entries=list(self.entries)).at(moment)

    def lot(self, key: str) -> ModelLot:
        return next(lot for lot in self.lots if lot.key == key)

    def grant(self, key: str, kind: str, amount: int, start: datetime | None, end: datetime | None) -> None:
        assert self.now is not None
        if start is None:
            start = self.now if end is None or end > self.now else end
        self.lots.append(ModelLot(len(self.lots), key, kind, amount, start, end))
        self.at(self.now)

    def spend(self, key: str, amount: int) -> None:
        assert self.available >= amount
        used = Counter(self._take_one(None) for _ in range(amount))
        self._entry("spent", -amount, key, used)

    def reverse(self, lot: ModelLot, key: str, amount: int) -> int:
        if lot.state == "future":
            lot.orders.append((key, amount))
            return 0
        return self._take_back(lot, key, amount)

    def freeze(self, lot: ModelLot, key: str, amount: int) -> int:
        """Freeze `amount`, or thaw when it is below 0. `left` is what can be spent, `frozen` what cannot."""
        if lot.state == "future":
            lot.freezes.append((key, amount))
            return 0
        count = 0
        while amount > count and lot.left:
            lot.left, lot.frozen, count = lot.left - 1, lot.frozen + 1, count + 1
        if count:
            self._entry("frozen", -count, key, Counter())
        return count or self._thaw(lot, key, -amount)

    def _thaw(self, lot: ModelLot, key: str, amount: int) -> int:
        used: Counter[str] = Counter()
        count = 0
        while amount > count and lot.frozen:
            lot.frozen, count = lot.frozen - 1, count + 1
            if self.debt:
                self.debt -= 1
                used[lot.key] += 1
            else:
                lot.left += 1
        if count:
            self._entry("thawed", count, key, used)
        return count

    def end_early(self, lot: ModelLot) -> bool:
        if lot.state == "over":
            return False
        self._end(lot)
        return True

    def _due(self) -> list[tuple[datetime, int, int, Callable[[ModelLot], None], ModelLot]]:
        """What would happen by now; at one moment the ends before the starts."""
        assert self.now is not None
        due: list[tuple[datetime, int, int, Callable[[ModelLot], None], ModelLot]] = []
        for lot in self.lots:
            if lot.state == "future" and lot.start <= self.now:
                due.append((lot.start, 1, lot.number, self._start, lot))
            if lot.state == "open" and (lot.left or lot.frozen) and lot.end is not None and lot.end <= self.now:
                due.append((lot.end, 0, lot.number, self._end, lot))
        return due

    def _start(self, lot: ModelLot) -> None:
        lot.state = "open"
        repaid: Counter[str] = Counter()
        for _ in range(lot.amount):
            if self.debt:
                self.debt -= 1
                repaid[lot.key] += 1
            else:
                lot.left += 1
        self._entry("adjusted" if lot.kind == "adjustment" else "granted", lot.amount, lot.key, repaid)
        for key, amount in lot.orders:
            self._take_back(lot, key, amount)
        for key, amount in lot.freezes:
            self.freeze(lot, key, amount)

    def _end(self, lot: ModelLot) -> None:
        lot.state = "over"
        self._thaw(lot, "expire:thaw:" + lot.key, lot.frozen)
        if lot.left:
            rest, lot.left = lot.left, 0
            lot.gone += rest
            self._entry("expired", -rest, "expire:" + lot.key, Counter({lot.key: rest}))

    def _take_back(self, lot: ModelLot, key: str, amount: int) -> int:
        begun = any(entry.key == lot.key for entry in self.entries)
        amount = min(amount, lot.amount - lot.gone) if begun else 0
        used: Counter[str] = Counter()
        for _ in range(amount):
            lot.gone += 1
            if self.available:
                used[self._take_one(lot)] += 1
            else:
                self.debt += 1
        if amount:
            self._entry("reversed", -amount, key, used)
        return amount

    def _take_one(self, favourite: ModelLot | None) -> str:
        """One credit from the favourite if it has any, else from the lot that comes first."""
        open_lots = [lot for lot in self.lots if lot.left]
        chosen = favourite if favourite is not None and favourite.left else min(open_lots, key=self._rank)
        chosen.left -= 1
        return chosen.key

    def _rank(self, lot: ModelLot) -> tuple[object, ...]:
        kind = next(place for place, kinds in enumerate(KIND_ORDER) if lot.kind in kinds)
        end = lot.end or FAR
        return (kind, end, lot.number) if self.order == "kind" else (end, kind, lot.number)

    def _entry(self, kind: str, amount: int, key: str, used: Counter[str]) -> None:
        assert self.now is not None
        balance = (self.entries[-1].balance if self.entries else 0) + amount
        assert balance == self.available - self.debt
        self.seen = self.now
        self.entries.append(ModelEntry(kind, amount, key, balance, self.now, used))
