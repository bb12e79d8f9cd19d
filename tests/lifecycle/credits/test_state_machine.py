"""The ledger against the plain-Python model: whatever is done in whatever order at whatever time, both agree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger, queries
from portal.credits.errors import HoldClosed
from portal.credits.models import KIND_RANK
from portal.credits.verify import verify
from tests.lifecycle.credits.account import (
    committed_rows,
    make_still_clock,
    new_team,
    one_connection,
    stand_still,
)
from tests.lifecycle.credits.model import Model
from tests.services import connect

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)

# Histories; `make chaos` tries more.
EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "150"))

KINDS = st.sampled_from(list(KIND_RANK))
AMOUNTS = st.integers(1, 40)
PICKS = st.integers(0, 1000)
# Whole hours, so that jumps land exactly on starts and ends, and one microsecond to either side of them.
HOURS = st.integers(-3, 3).map(lambda hours: timedelta(hours=hours))
LENGTHS = st.none() | st.integers(1, 6).map(lambda hours: timedelta(hours=hours))
LASTS = st.integers(1, 6).map(lambda hours: timedelta(hours=hours))
JUMPS = st.integers(-2, 2).map(lambda hours: timedelta(hours=hours))
TICKS = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)])
ORDERS = st.sampled_from(["expiry", "kind"])

# What may be asked of the account, with what, and how often beside the others.
ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "grant": {"kind": KINDS, "amount": AMOUNTS, "start": st.none() | HOURS, "length": LENGTHS},
    "spend": {"amount": AMOUNTS},
    "reverse": {"pick": PICKS, "amount": AMOUNTS},
    "hold": {"amount": AMOUNTS, "lasts": LASTS},
    "settle": {"pick": PICKS, "amount": AMOUNTS},
    "release": {"pick": PICKS},
    "freeze": {"pick": PICKS, "amount": AMOUNTS},
    "thaw": {"pick": PICKS, "amount": AMOUNTS},
    "end_early": {"pick": PICKS},
    "ask_again": {"pick": PICKS},
    "ask_otherwise": {"pick": PICKS},
    "take_a_key_for_something_else": {"pick": PICKS, "amount": AMOUNTS},
    "post_due": {},
    "look": {},
    "move_the_clock": {"jump": JUMPS, "tick": TICKS},
    "change_the_order": {"order": ORDERS},
}
WEIGHTS = {
    "grant": 6,
    "spend": 6,
    "reverse": 6,
    "hold": 6,
    "settle": 4,
    "release": 2,
    "freeze": 4,
    "thaw": 4,
    "move_the_clock": 4,
    "ask_again": 2,
}
ACTS = [act for act in ARGUMENTS for _ in range(WEIGHTS.get(act, 1))]

# What was asked under a key: how to ask it again, how to ask it with another amount, and what was answered.
Asked = tuple[str, Callable[[], object], Callable[[], object], object]


class Ledger(RuleBasedStateMachine):
    """One fresh team; every act is one unit of work at one exact moment, done to ledger and model alike."""

    app: Flask
    # Sees what is committed, and nothing else.
    reader: psycopg.Connection
    told: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.team_id = new_team()
        self.model = Model()
        self.clock = NOON
        stand_still(NOON)
        self.asked: list[Asked] = []
        self.keys = 0
        self.known = 0

    @initialize(order=ORDERS, data=st.data())
    def begin(self, order: str, data: st.DataObject) -> None:
        """Something to spend, to take back and to wait for, so that every act can do something from the start."""
        self._set_order(order)
        for _ in range(4):
            self.grant(data.draw(KINDS), data.draw(AMOUNTS), data.draw(HOURS), data.draw(LENGTHS))

    # One rule and not one for each act: of several rules some are left out of each example, and without grants or
    # spends most of what an account does never comes to pass.
    @rule(act=st.sampled_from(ACTS), data=st.data())
    def act(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(*(data.draw(strategy, name) for name, strategy in ARGUMENTS[act].items()))

    def grant(self, kind: str, amount: int, start: timedelta | None, length: timedelta | None) -> None:
        key = self._new_key("grant")
        effective_at = None if start is None else self.clock + start
        expires_at = None if length is None else (effective_at or self.clock) + length

        def ask(amount: int = amount) -> bool:
            return ledger.grant(
                self.team_id,
                kind=kind,
                amount=amount,
                cause_key=key,
                source="a test",
                effective_at=effective_at,
                expires_at=expires_at,
            )

        with unit_of_work():
            assert ask() is True
        self.model.at(self.clock).grant(key, kind, amount, effective_at, expires_at)
        self.asked.append((key, ask, lambda: ask(amount + 1), False))

    def spend(self, amount: int) -> None:
        key, team_id = self._new_key("usage"), self.team_id
        available = self.model.foreseen(self.clock).available
        if available < amount:
            # The refusal is caught inside the unit: what was due is kept, the spend is not.
            with unit_of_work(), pytest.raises(ledger.InsufficientCredits) as refused:
                ledger.spend(team_id, amount, key)
            assert (refused.value.available, refused.value.cost) == (available, amount)
            self.model.at(self.clock)
            return
        with unit_of_work():
            spent = ledger.spend(team_id, amount, key)
        self.model.at(self.clock).spend(key, amount)
        assert (spent.balance, spent.version) == (self.model.entries[-1].balance, len(self.model.entries))
        self.asked.append(
            (
                key,
                lambda: ledger.spend(team_id, amount, key),
                lambda: ledger.spend(team_id, amount + 1, key),
                spent,
            )
        )

    def reverse(self, pick: int, amount: int) -> None:
        lot = self.model.lots[pick % len(self.model.lots)]
        key = self._new_key("refund")
        with unit_of_work():
            taken = ledger.reverse(self.team_id, lot.key, amount, key)
        self.model.at(self.clock)
        assert taken == self.model.reverse(lot, key, amount)

        def ask(amount: int = amount) -> None:
            answer = ledger.reverse(self.team_id, lot.key, amount, key)
            self.model.at(self.clock)
            assert answer == -sum(entry.amount for entry in self.model.entries if entry.key == key)

        self.asked.append((key, ask, lambda: ask(amount + 1), None))

    def hold(self, amount: int, lasts: timedelta) -> None:
        key, team_id = self._new_key("hold"), self.team_id
        available = self.model.foreseen(self.clock).available
        if available < amount:
            with unit_of_work(), pytest.raises(ledger.InsufficientCredits) as refused:
                holds.hold(team_id, amount, key, lasts)
            assert (refused.value.available, refused.value.cost) == (available, amount)
            self.model.at(self.clock)
            return
        with unit_of_work():
            held = holds.hold(team_id, amount, key, lasts)
        self.model.at(self.clock).hold(held.id, amount, lasts)
        assert (held.state, held.expires_at - held.created_at) == ("open", lasts)

        def ask(amount: int = amount) -> str:
            return holds.hold(team_id, amount, key, lasts).id

        self.asked.append((key, ask, lambda: ask(amount + 1), held.id))

    def settle(self, pick: int, amount: int) -> None:
        """More than is held is refused before anything, and a hold that was closed whatever is asked."""
        team_id = self.team_id
        if not self.model.holds:
            return
        hold = self.model.holds[pick % len(self.model.holds)]
        key = self._new_key("usage")
        then = next(one for one in self.model.foreseen(self.clock).holds if one.id == hold.id)
        if amount > hold.amount or then.state != "open":
            with unit_of_work(), pytest.raises(ValueError if amount > hold.amount else HoldClosed):
                holds.settle(team_id, hold.id, amount, key)
            if amount <= hold.amount:
                self.model.at(self.clock)
            return
        with unit_of_work():
            spent = holds.settle(team_id, hold.id, amount, key)
        self.model.at(self.clock).settle(hold, key, amount)
        entry = next(entry for entry in self.model.entries if entry.key == key)
        assert (spent.balance, spent.version) == (entry.balance, self.model.entries.index(entry) + 1)

        def ask(amount: int = amount) -> ledger.Spent:
            return holds.settle(team_id, hold.id, amount, key)

        self.asked.append((key, ask, lambda: ask(amount + 1), spent))

    def release(self, pick: int) -> None:
        if not self.model.holds:
            return
        hold = self.model.holds[pick % len(self.model.holds)]
        with unit_of_work():
            try:
                state = holds.release(self.team_id, hold.id).state
            except HoldClosed as closed:
                state = closed.state
        self.model.at(self.clock)
        if hold.state == "open":
            self.model.release(hold)
        assert state == hold.state

    def freeze(self, pick: int, amount: int) -> None:
        self._freeze_or_thaw(ledger.freeze, pick, amount, 1)

    def thaw(self, pick: int, amount: int) -> None:
        """Mostly of a lot of which something is frozen: the others have nothing to thaw."""
        frozen = [place for place, lot in enumerate(self.model.lots) if lot.frozen or lot.freezes]
        self._freeze_or_thaw(ledger.thaw, frozen[pick % len(frozen)] if frozen else pick, amount, -1)

    def _freeze_or_thaw(self, act: Callable[..., int], pick: int, amount: int, sign: int) -> None:
        lot = self.model.lots[pick % len(self.model.lots)]
        key = self._new_key("dispute")
        with unit_of_work():
            changed = act(self.team_id, lot.key, amount, key)
        self.model.at(self.clock)
        assert changed == self.model.freeze(lot, key, sign * amount)

        def ask(amount: int = amount) -> None:
            answer = act(self.team_id, lot.key, amount, key)
            self.model.at(self.clock)
            assert answer == abs(sum(entry.amount for entry in self.model.entries if entry.key == key))

        self.asked.append((key, ask, lambda: ask(amount + 1), None))

    def end_early(self, pick: int) -> None:
        lot = self.model.lots[pick % len(self.model.lots)]
        with unit_of_work():
            ended = ledger.end_early(self.team_id, lot.key)
        self.model.at(self.clock)
        assert ended == self.model.end_early(lot)

    def ask_again(self, pick: int) -> None:
        """The same request once more has the same answer and no effect."""
        _key, again, _other, answer = self.asked[pick % len(self.asked)]
        with unit_of_work():
            assert again() == answer

    def ask_otherwise(self, pick: int) -> None:
        """The same key with another amount is refused, by the act it was first used for."""
        _key, _again, other, _answer = self.asked[pick % len(self.asked)]
        with pytest.raises(ledger.CauseConflict), unit_of_work():
            other()

    def take_a_key_for_something_else(self, pick: int, amount: int) -> None:
        """A key that stands for a grant, a spend, a hold or a reversal stands for nothing else."""
        key = self.asked[pick % len(self.asked)][0]
        grant = partial(ledger.grant, self.team_id, kind="gift", amount=amount, cause_key=key, source="")
        take: Callable[[], object] = (
            grant if key.startswith("usage") else partial(ledger.spend, self.team_id, amount, key)
        )
        if amount % 2 and not key.startswith("hold"):
            take = partial(holds.hold, self.team_id, amount, key, timedelta(hours=1))
        with pytest.raises(ledger.CauseConflict), unit_of_work():
            take()

    def post_due(self) -> None:
        before = len(self.model.entries)
        with unit_of_work():
            posted = ledger.post_due(self.team_id)
        assert posted == len(self.model.at(self.clock).entries) - before

    def look(self) -> None:
        """What is shown adds up to what can be spent, and says what is still to come."""
        with unit_of_work():
            summary = queries.summary(self.team_id)
        then = self.model.foreseen(self.clock)
        spendable = sum(grant.spendable for grant in summary.grants if grant.live)
        assert summary.available == spendable == then.available
        assert summary.reserved == then.reserved
        assert summary.frozen == sum(grant.frozen for grant in summary.grants) == sum(lot.frozen for lot in then.lots)
        future = [lot.amount for lot in then.lots if lot.state == "future"]
        assert sorted(grant.amount for grant in summary.grants if not grant.live) == sorted(future)

    def move_the_clock(self, jump: timedelta, tick: timedelta) -> None:
        self.clock += jump + tick
        stand_still(self.clock)

    def change_the_order(self, order: str) -> None:
        """A catalog may change its mind: what was spent before was spent by the order of then."""
        self._set_order(order)

    @invariant()
    def ledger_and_model_agree(self) -> None:
        rows = committed_rows(self.reader, self.team_id, self.known)
        balance = queries.balance(self.team_id)
        db.session.rollback()
        if rows is None:
            assert not self.model.lots
            return
        model, account = self.model, rows.account
        assert (account["available"], account["reserved"], account["debt"]) == (
            model.available, model.reserved, model.debt
        )  # fmt: skip
        assert account["version"] == len(model.entries)
        assert [(lot["key"], lot["remaining"], lot["frozen"], lot["held"]) for lot in rows.grants] == [
            (lot.key, lot.amount if lot.state == "future" else lot.left + lot.frozen, lot.frozen, lot.held)
            for lot in model.lots
        ]
        assert [(hold["id"], hold["state"], hold["settled"], hold["lots"]) for hold in rows.holds] == [
            (hold.id, hold.state, hold.settled, {key: (part, hold.repaid[key]) for key, part in hold.parts.items()})
            for hold in sorted(model.holds, key=lambda hold: hold.id)
        ]
        for version, (entry, expected) in enumerate(
            zip(rows.entries, model.entries[self.known :], strict=True), start=self.known + 1
        ):
            assert (entry["version"], entry["kind"], entry["amount"], entry["key"], entry["balance"]) == (
                version, expected.kind, expected.amount, expected.key, expected.balance
            )  # fmt: skip
            assert (entry["used"], entry["at"]) == (expected.used, expected.at.timestamp())
        self.known = len(model.entries)
        # A read shows at once what the next writer will post.
        then = model.foreseen(self.clock)
        frozen = sum(lot.frozen for lot in then.lots)
        assert balance == queries.Balance(then.available, then.reserved, then.debt, len(then.entries), frozen)

    def teardown(self) -> None:
        """The entries tell of every step, so proving the ledger at the end proves it after each of them."""
        with unit_of_work():
            assert [finding for finding in verify(self.team_id) if finding.violations] == []
        db.session.remove()
        self.told.update(entry.kind for entry in self.model.entries)
        self.told.update("from several" for entry in self.model.entries if len(entry.used) > 1)
        self.told.update(f"hold {hold.state}" for hold in self.model.holds)
        self.told.update("lapsed" for lot in self.model.lots if lot.lapsed)
        self.told.update("hold repaid" for hold in self.model.holds if hold.repaid)

    def _new_key(self, kind: str) -> str:
        self.keys += 1
        return f"{kind}:{self.keys}"

    def _set_order(self, order: str) -> None:
        self.model.order = order
        self.app.config["SPEND_ORDER"] = order


def test_ledger_and_model_agree(app: Flask) -> None:
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    order = app.config.get("SPEND_ORDER", "expiry")
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=50,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        with one_connection(), connect(app.config["SETTINGS"].database_url) as reader:
            machine = type("Ledger", (Ledger,), {"app": app, "reader": reader})
            run_state_machine_as_test(machine, settings=limits)
    finally:
        app.config["SPEND_ORDER"] = order
    # A machine that hardly ever spends or expires anything would agree with everything.
    kinds = ("granted", "adjusted", "spent", "expired", "reversed", "frozen", "thawed", "from several")
    assert all(Ledger.told[kind] >= EXAMPLES // 5 for kind in kinds), Ledger.told
    states = ("hold settled", "hold released", "hold expired", "hold repaid", "lapsed")
    assert all(Ledger.told[state] for state in states), Ledger.told
