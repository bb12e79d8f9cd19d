"""One team's account told again from its rows alone: what every entry must have done to every lot, and what it did.

It shares nothing with the ledger but the tables. What it expects is computed anew from the rules: who was there to be
spent in which order, what was held and by whom, what was owed.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FAR = datetime(9999, 1, 1, tzinfo=UTC)
KIND_PLACE = {"subscription": 0, "gift": 1, "adjustment": 1, "bundle": 2}

Row = dict[str, Any]


@dataclass(eq=False)
class Lot:
    row: Row
    rank: tuple[Any, ...]
    left: int = 0
    held: int = 0
    begun: bool = False
    over: bool = False

    @property
    def free(self) -> int:
        return self.left - self.held

    @property
    def ends(self) -> datetime:
        return self.row["expires_at"] or FAR


@dataclass
class Tables:
    """A team's rows; `taken` has the consumptions by entry, `parts` the lots of a hold by hold."""

    account: Row
    grants: list[Row]
    entries: list[Row]
    taken: dict[int, dict[int, int]]
    reversals: list[Row]
    holds: list[Row]
    parts: dict[str, list[Row]]


@dataclass
class Replay:
    """`faults` are the violations, each with the invariant it is of."""

    tables: Tables
    faults: list[str] = field(default_factory=list)
    available: int = 0
    reserved: int = 0
    debt: int = 0
    balance: int = 0
    version: int = 0

    def __post_init__(self) -> None:
        orders = {row["spend_order"] for row in self.tables.entries if row["spend_order"]}
        self.order = orders.pop() if orders else "expiry"
        self.expect(not orders, "I5", "the run has one spending order")
        self.lots = {row["id"]: Lot(row, self._rank(row)) for row in self.tables.grants}
        self.queue: list[tuple[tuple[Any, ...], int]] = []
        self.holds = {row["id"]: row for row in self.tables.holds}
        self.settled_by = {row["entry_id"]: row for row in self.tables.holds if row["entry_id"]}
        self.last_at = datetime.min.replace(tzinfo=UTC)

    def run(self) -> list[str]:
        for place, happenings in self._places():
            entry = happenings.get("entry")
            if entry:
                self._entry(entry[0])
            for hold in happenings.get("opened", ()):
                self._open(hold)
            for row in happenings.get("lapsed", ()):
                self._lapse(self.lots[row["id"]])
            for hold in happenings.get("opened", ()):
                self._check_choice(hold, place)
            for hold in happenings.get("closed", ()):
                self._close(hold)
        self._check_end()
        return self.faults

    def expect(self, sound: bool, invariant: str, what: object) -> None:
        if not sound:
            self.faults.append(f"{invariant} {self.tables.account['team_id']} at {self.version}: {what}")

    def _rank(self, row: Row) -> tuple[Any, ...]:
        ends, kind = row["expires_at"] or FAR, KIND_PLACE[row["kind"]]
        return (kind, ends, row["id"]) if self.order == "kind" else (ends, kind, row["id"])

    def _places(self) -> Iterator[tuple[int, dict[str, list[Row]]]]:
        """The entries in order, and after each what was held, lapsed and given back at its version."""
        places: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for entry in self.tables.entries:
            places[entry["version"]]["entry"].append(entry)
        for hold in self.tables.holds:
            places[hold["opened_version"]]["opened"].append(hold)
            if hold["state"] != "open":
                places[hold["closed_version"]]["closed"].append(hold)
        for row in self.tables.grants:
            if row["lapsed_version"] is not None:
                places[row["lapsed_version"]]["lapsed"].append(row)
        yield from sorted(places.items())

    def _entry(self, entry: Row) -> None:
        self.expect(entry["version"] == self.version + 1, "I6", f"entry {entry['version']} leaves a gap")
        self.expect(entry["balance_after"] == self.balance + entry["amount"], "I6", "the balances do not follow")
        self.expect(entry["at"] >= self.last_at, "I6", "time runs back")
        self.version, self.balance, self.last_at = entry["version"], entry["balance_after"], entry["at"]
        taken = self.tables.taken.get(entry["id"], {})
        self.expect(all(amount > 0 for amount in taken.values()), "I4", "nothing was taken")
        if unknown := taken.keys() - self.lots.keys():
            self.expect(False, "I14", f"took from {unknown}, which are not the team's")
            return
        {
            "granted": self._granted,
            "adjusted": self._granted,
            "spent": self._spent,
            "reversed": self._reversed,
            "expired": self._expired,
        }[entry["kind"]](entry, taken)
        self.expect(
            self.balance == self.available + self.reserved - self.debt, "I1", "the parts do not make the balance"
        )
        self.expect(min(self.available, self.reserved, self.debt) >= 0, "I2", "something is below zero")
        self.expect(not (self.debt and self.available), "I2", f"{self.debt} are owed beside {self.available}")
        for lot_id in taken:
            lot = self.lots[lot_id]
            self.expect(0 <= lot.held <= lot.left <= lot.row["amount"], "I2", f"lot {lot_id}: {lot.held}, {lot.left}")

    def _granted(self, entry: Row, taken: dict[int, int]) -> None:
        lot = self.lots[entry["grant_id"]]
        same = (entry["cause_key"], entry["amount"]) == (lot.row["cause_key"], lot.row["amount"])
        self.expect(same and not lot.begun, "I3", f"lot {entry['grant_id']} began twice, or is another")
        self.expect(entry["at"] >= lot.row["effective_at"], "I10", "granted before its time")
        repaid = min(self.debt, lot.row["amount"])
        self.expect(
            taken == ({entry["grant_id"]: repaid} if repaid else {}), "I2", f"{repaid} were to be repaid: {taken}"
        )
        lot.begun, lot.left = True, lot.row["amount"] - repaid
        self.debt -= repaid
        self.available += lot.left
        insort(self.queue, (lot.rank, lot.row["id"]))

    def _spent(self, entry: Row, taken: dict[int, int]) -> None:
        hold = self.settled_by.get(entry["id"])
        self.expect(sum(taken.values()) == -entry["amount"], "I4", f"spent {entry['amount']} and took {taken}")
        if hold is not None:
            self._settled(entry, hold, taken)
            return
        for lot in self._queued():
            self.expect(lot.ends > entry["at"], "I10", f"lot {lot.row['id']} was over when something was spent")
            if self.order == "expiry":
                break  # the others end later
        self.expect(taken == self._in_order(-entry["amount"]), "I5", f"took {taken}")
        self._take(taken)

    def _settled(self, entry: Row, hold: Row, taken: dict[int, int]) -> None:
        self.expect(hold["settled"] == -entry["amount"] <= hold["amount"], "I4", f"{hold['id']} was settled otherwise")
        self.expect(entry["at"] < hold["expires_at"], "I10", f"{hold['id']} was over")
        expected, left = {}, -entry["amount"]
        for part in sorted(self.tables.parts[hold["id"]], key=lambda part: self.lots[part["grant_id"]].rank):
            if left:
                expected[part["grant_id"]] = min(left, part["amount"])
                left -= expected[part["grant_id"]]
        self.expect(taken == expected, "I5", f"{hold['id']} was settled from {taken}, not {expected}")
        for lot_id, amount in taken.items():
            self.lots[lot_id].left -= amount
            self.lots[lot_id].held -= amount
            self.reserved -= amount

    def _reversed(self, entry: Row, taken: dict[int, int]) -> None:
        lot, amount = self.lots[entry["grant_id"]], -entry["amount"]
        self.expect(lot.begun, "I10", "taken back before it began")
        own = min(lot.free, amount)
        expected = Counter({entry["grant_id"]: own} if own else {})
        self._take(dict(expected))
        others = self._in_order(min(self.available, amount - own))
        self._take(others)
        expected.update(others)
        self.expect(taken == expected, "I5", f"took back {taken}, not {dict(expected)}")
        self.debt += amount - sum(expected.values())

    def _expired(self, entry: Row, taken: dict[int, int]) -> None:
        lot = self.lots[entry["grant_id"]]
        self.expect(entry["cause_key"] == f"expire:grant:{entry['grant_id']}", "I10", "an expiry under another cause")
        self.expect(lot.begun and not lot.held, "I10", "expired before it began, or while some was held")
        self.expect(taken == {entry["grant_id"]: lot.left} and lot.left == -entry["amount"], "I10", f"{taken} expired")
        self._take(taken)
        lot.over = True
        self._dequeue(lot)

    def _open(self, hold: Row) -> None:
        parts = self.tables.parts[hold["id"]]
        self.expect(sum(part["amount"] for part in parts) == hold["amount"], "I4", f"{hold['id']} holds another amount")
        for part in parts:
            lot = self.lots[part["grant_id"]]
            alive = lot.begun and not lot.over and lot.ends > hold["created_at"]
            self.expect(alive, "I10", f"{hold['id']} holds lot {part['grant_id']}, which was not there")
            lot.held += part["amount"]
        self.available -= hold["amount"]
        self.reserved += hold["amount"]

    def _check_choice(self, hold: Row, version: int) -> None:
        """What was given back at this version counts as held still, since nobody knows which came first."""
        last = max(self.lots[part["grant_id"]].rank for part in self.tables.parts[hold["id"]])
        for lot in self._queued():
            if lot.rank >= last:
                break
            self.expect(lot.free <= 0, "I5", f"{hold['id']} passed over lot {lot.row['id']} at {version}")

    def _lapse(self, lot: Lot) -> None:
        lot.over = True
        self.available -= lot.free
        self.reserved += lot.free
        self._dequeue(lot)

    def _close(self, hold: Row) -> None:
        used = self.tables.taken.get(hold["entry_id"], {}) if hold["entry_id"] else {}
        for part in self.tables.parts[hold["id"]]:
            lot, back = self.lots[part["grant_id"]], part["amount"] - used.get(part["grant_id"], 0)
            self.expect(0 <= part["repaid"] <= back, "I4", f"{hold['id']} repaid {part['repaid']} of {back}")
            lot.held -= back
            lot.left -= part["repaid"]
            self.debt -= part["repaid"]
            self.reserved -= part["repaid"] if lot.over else back
            self.available += 0 if lot.over else back - part["repaid"]
        in_time = hold["closed_at"] < hold["expires_at"]
        self.expect(in_time == (hold["state"] != "expired"), "I10", f"{hold['id']} is {hold['state']}")

    def _queued(self) -> Iterator[Lot]:
        """The live lots in order, without those that are used up."""
        for _rank, lot_id in tuple(self.queue):
            lot = self.lots[lot_id]
            if lot.left:
                yield lot
            else:
                self._dequeue(lot)

    def _dequeue(self, lot: Lot) -> None:
        self.queue = [item for item in self.queue if item[1] != lot.row["id"]]

    def _in_order(self, amount: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for lot in self._queued():
            if not amount:
                break
            part = min(lot.free, amount)
            if part > 0:
                found[lot.row["id"]] = part
                amount -= part
        return found

    def _take(self, taken: dict[int, int]) -> None:
        for lot_id, amount in taken.items():
            lot = self.lots[lot_id]
            lot.left -= amount
            if lot.over:
                self.reserved -= amount
            else:
                self.available -= amount

    def _check_end(self) -> None:
        account = self.tables.account
        told = (account["available"], account["reserved"], account["debt"], account["version"])
        self.expect(told == (self.available, self.reserved, self.debt, self.version), "I1", f"the account says {told}")
        for lot in self.lots.values():
            row = lot.row
            left = row["amount"] if row["state"] == "waiting" else lot.left
            self.expect(
                (row["remaining"], row["held"]) == (left, lot.held), "I1", f"lot {row['id']} is not what is left"
            )
            state = row["state"]
            fits = {
                "waiting": not lot.begun,
                "live": lot.begun and not lot.over and lot.left > 0,
                "used": lot.begun and lot.left == 0,
                "ended": lot.over or not lot.left,
            }[state]
            self.expect(fits, "I10", f"lot {row['id']} is {state}")
        expired = Counter(entry["grant_id"] for entry in self.tables.entries if entry["kind"] == "expired")
        self.expect(all(times == 1 for times in expired.values()), "I10", "a lot expired more than once")
