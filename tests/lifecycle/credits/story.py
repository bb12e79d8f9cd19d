"""An account on which a story happens, each act of it at a moment of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from portal.credits import holds, ledger, queries
from tests.lifecycle.credits.account import Rows, new_team, read_rows, unit_at

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


class Account:
    """A fresh team's account, with every act in a unit of its own at a moment of its own."""

    def __init__(self) -> None:
        self.team_id = new_team()
        self.moment = NOON

    def grant(self, amount: int, key: str, kind: str = "gift", **times: datetime | None) -> bool:
        return bool(self.do(ledger.grant, kind=kind, amount=amount, cause_key=key, source="a test", **times))

    def spend(self, amount: int, key: str) -> ledger.Spent:
        spent: ledger.Spent = self.do(ledger.spend, amount, key)
        return spent

    def hold(self, amount: int, key: str, lasts: timedelta = HOUR) -> holds.Held:
        held: holds.Held = self.do(holds.hold, amount, key, lasts)
        return held

    def settle(self, held: holds.Held, amount: int, key: str) -> ledger.Spent:
        spent: ledger.Spent = self.do(holds.settle, held.id, amount, key)
        return spent

    def release(self, held: holds.Held) -> holds.Held:
        released: holds.Held = self.do(holds.release, held.id)
        return released

    def do(self, act: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        with unit_at(self.moment):
            return act(self.team_id, *args, **kwargs)

    @property
    def balance(self) -> tuple[int, int]:
        """Available and debt."""
        found = self.do(queries.balance)
        return found.available, found.debt

    @property
    def sums(self) -> tuple[int, int, int]:
        """Available, reserved and debt."""
        found = self.do(queries.balance)
        return found.available, found.reserved, found.debt

    @property
    def rows(self) -> Rows:
        found = read_rows(self.team_id)
        assert found is not None
        return found

    @property
    def story(self) -> list[tuple[str, int, int]]:
        """Kind, amount and balance after each entry."""
        return [(entry["kind"], entry["amount"], entry["balance"]) for entry in self.rows.entries]

    def used(self, version: int) -> dict[str, int]:
        return dict(self.rows.entries[version - 1]["used"])
