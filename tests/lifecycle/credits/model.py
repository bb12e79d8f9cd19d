"""A credit account as plain Python would have it: lists of lots, moved one credit at a time, nothing clever.

Written from the rules and not from the ledger, so that the two can be held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

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
    held: int = 0
    lapsed: bool = False

    @property
    def free(self) -> int:
        return self.left - self.held


@dataclass
class ModelHold:
    """`parts` and `repaid` count credits by the keys of their lots."""

    id: str
    amount: int
    end: datetime
    parts: Counter[str]
    state: str = "open"
    settled: int = 0
    repaid: Counter[str] = field(default_factory=Counter)


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
    holds: list[ModelHold] = field(default_factory=list)
    debt: int = 0
    seen: datetime | None = None
    now: datetime | None = None

    @property
    def available(self) -> int:
        return sum(lot.free for lot in self.lots if lot.state == "open")

    @property
    def reserved(self) -> int:
        """What is held, and beside it what is left of lots that are over."""
        return sum(lot.held if lot.state == "open" else lot.left for lot in self.lots)

    def at(self, moment: datetime) -> Model:
        """Let time come to `moment`, and what is due happen, the earliest first.

        Of a clock that is put back by an hour at most no notice is taken.
        """
        ahead = (self.seen - moment) if self.seen else timedelta()
        self.now = self.seen if timedelta() <= ahead <= timedelta(hours=1) and self.seen else moment
        while due := self._due():
            _when, _rank, _number, happen, thing = min(due, key=lambda item: item[:3])
            happen(thing)
        return self

    def foreseen(self, moment: datetime) -> Model:
        """A copy as of `moment`; this one stays as it is."""
        lots = [replace(lot) for lot in self.lots]
        holds = [replace(hold, repaid=Counter(hold.repaid)) for hold in self.holds]
        return replace(self, lots=lots, entries=list(self.entries), holds=holds).at(moment)

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

    def hold(self, id_: str, amount: int, lasts: timedelta) -> None:
        assert self.now is not None
        assert self.available >= amount
        parts: Counter[str] = Counter()
        for _ in range(amount):
            lot = min((lot for lot in self.lots if lot.state == "open" and lot.free), key=self._rank)
            lot.held += 1
            parts[lot.key] += 1
        self.holds.append(ModelHold(id_, amount, self.now + lasts, parts))

    def settle(self, hold: ModelHold, key: str, amount: int) -> None:
        used: Counter[str] = Counter()
        for _ in range(amount):
            lot = min((lot for lot in self._lots_of(hold) if used[lot.key] < hold.parts[lot.key]), key=self._rank)
            lot.held -= 1
            lot.left -= 1
            used[lot.key] += 1
        self._entry("spent", -amount, key, used)
        hold.settled = amount
        self._give_back(hold, hold.parts - used)
        hold.state = "settled"

    def release(self, hold: ModelHold, state: str = "released") -> None:
        self._give_back(hold, hold.parts)
        hold.state = state

    def _give_back(self, hold: ModelHold, rest: Counter[str]) -> None:
        lots = sorted(self._lots_of(hold), key=self._rank)
        for lot in lots:
            for _ in range(rest[lot.key]):
                lot.held -= 1
                if self.debt:
                    self.debt -= 1
                    lot.left -= 1
                    hold.repaid[lot.key] += 1
        for lot in lots:
            if lot.state == "over" and not lot.held:
                self._end(lot)

    def _lots_of(self, hold: ModelHold) -> list[ModelLot]:
        return [self.lot(key) for key in hold.parts]

    def reverse(self, lot: ModelLot, key: str, amount: int) -> int:
        if lot.state == "future":
            lot.orders.append((key, amount))
            return 0
        return self._take_back(lot, key, amount)

    def freeze(self, lot: ModelLot, key: str, amount: int) -> int:
        """Freeze `amount`, or thaw when it is below 0. `left` is what can be spent or is held, `frozen` what cannot."""
        if lot.state == "future":
            lot.freezes.append((key, amount))
            return 0
        count = 0
        while amount > count and lot.state == "open" and lot.free:
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

    def _due(self) -> list[tuple[datetime, int, int, Callable[[Any], None], ModelLot | ModelHold]]:
        """What would happen by now; at one moment the ends of holds before those of lots, and these before the starts."""
        assert self.now is not None
        due: list[tuple[datetime, int, int, Callable[[Any], None], ModelLot | ModelHold]] = []
        for number, hold in enumerate(sorted(self.holds, key=lambda hold: hold.id)):
            if hold.state == "open" and hold.end <= self.now:
                due.append((hold.end, -1, number, self._expire, hold))
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

    def _expire(self, hold: ModelHold) -> None:
        self.release(hold, "expired")

    def _end(self, lot: ModelLot) -> None:
        """A lot of which some is held is over, and waits with its rest for what comes back."""
        lot.state = "over"
        self._thaw(lot, "expire:thaw:" + lot.key, lot.frozen)
        lot.lapsed = lot.lapsed or lot.held > 0
        if lot.left and not lot.held:
            rest, lot.left = lot.left, 0
            lot.gone += rest
            self._entry("expired", -rest, "expire:" + lot.key, Counter({lot.key: rest}))

    def _take_back(self, lot: ModelLot, key: str, amount: int) -> int:
        begun = any(entry.key == lot.key for entry in self.entries)
        amount = max(0, min(amount, lot.amount - lot.gone)) if begun else 0
        used: Counter[str] = Counter()
        for _ in range(amount):
            lot.gone += 1
            if self.available or lot.free:
                used[self._take_one(lot)] += 1
            else:
                self.debt += 1
        if amount:
            self._entry("reversed", -amount, key, used)
        return amount

    def _take_one(self, favourite: ModelLot | None) -> str:
        """One credit from the favourite if it has any, else from the lot that comes first."""
        open_lots = [lot for lot in self.lots if lot.state == "open" and lot.free]
        chosen = favourite if favourite is not None and favourite.free else min(open_lots, key=self._rank)
        chosen.left -= 1
        return chosen.key

    def _rank(self, lot: ModelLot) -> tuple[object, ...]:
        kind = next(place for place, kinds in enumerate(KIND_ORDER) if lot.kind in kinds)
        end = lot.end or FAR
        return (kind, end, lot.number) if self.order == "kind" else (end, kind, lot.number)

    def _entry(self, kind: str, amount: int, key: str, used: Counter[str]) -> None:
        assert self.now is not None
        balance = (self.entries[-1].balance if self.entries else 0) + amount
        assert balance == self.available + self.reserved - self.debt
        self.seen = self.now
        self.entries.append(ModelEntry(kind, amount, key, balance, self.now, used))
