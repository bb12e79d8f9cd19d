"""Credits that are held for a use under way: nobody else takes them, and each is spent or comes back exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal.credits import holds, ledger, queries
from portal.credits.errors import CauseConflict, HoldClosed, InsufficientCredits, UnknownHold
from tests.lifecycle.credits.account import unit_at
from tests.lifecycle.credits.story import HOUR, NOON, TICK, Account


def test_what_is_held_is_not_spent_by_others(account: Account) -> None:
    account.grant(10, "gift")
    account.hold(7, "hold:1")
    assert account.sums == (3, 7, 0)
    with pytest.raises(InsufficientCredits) as refused:
        account.spend(4, "usage:1")
    assert (refused.value.available, refused.value.cost) == (3, 4)
    account.spend(3, "usage:2")
    assert account.sums == (0, 7, 0)
    assert account.story == [("granted", 10, 10), ("spent", -3, 7)]


def test_a_hold_is_whole_or_not_at_all(account: Account) -> None:
    account.grant(10, "gift")
    with pytest.raises(InsufficientCredits):
        account.hold(11, "hold:1")
    assert account.sums == (10, 0, 0)
    assert account.hold(10, "hold:1").amount == 10


def test_what_was_used_is_spent_and_the_rest_comes_back(account: Account) -> None:
    account.grant(10, "gift")
    held = account.hold(7, "hold:1")
    spent = account.settle(held, 5, "usage:1")
    assert (spent.balance, account.sums) == (5, (5, 0, 0))
    assert account.story == [("granted", 10, 10), ("spent", -5, 5)]


def test_a_release_gives_all_of_it_back(account: Account) -> None:
    account.grant(10, "gift")
    held = account.hold(7, "hold:1")
    account.moment += TICK
    assert (account.release(held).state, account.sums) == ("released", (10, 0, 0))
    account.moment += HOUR
    assert account.release(held).closed_at == NOON + TICK
    assert account.story == [("granted", 10, 10)]


def test_a_hold_takes_in_spending_order_and_is_settled_from_its_own_lots(account: Account) -> None:
    account.grant(10, "first", expires_at=NOON + HOUR)
    account.grant(10, "second", expires_at=NOON + 2 * HOUR)
    account.grant(10, "third")
    held = account.hold(15, "hold:1")
    account.spend(6, "usage:1")
    account.settle(held, 12, "usage:2")
    account.spend(3, "usage:3")
    assert [account.used(version) for version in (4, 5, 6)] == [
        {"second": 5, "third": 1},
        {"first": 10, "second": 2},
        {"second": 3},
    ]


def test_the_order_of_the_kinds_holds_for_holds(app: Flask, account: Account, monkeypatch: Any) -> None:
    monkeypatch.setitem(app.config, "SPEND_ORDER", "kind")
    account.grant(10, "bundle", "bundle", expires_at=NOON + HOUR)
    account.grant(10, "plan", "subscription")
    held = account.hold(15, "hold:1")
    account.settle(held, 12, "usage:1")
    assert account.used(3) == {"plan": 10, "bundle": 2}


@pytest.mark.parametrize(
    ("late", "settled"), [(-TICK, True), (timedelta(), False), (TICK, False)], ids=["before", "at", "after"]
)
def test_a_hold_is_over_at_its_end(account: Account, late: timedelta, settled: bool) -> None:
    account.grant(10, "gift")
    held = account.hold(7, "hold:1", HOUR)
    assert held.expires_at == NOON + HOUR
    account.moment = held.expires_at + late
    assert account.sums == ((3, 7, 0) if settled else (10, 0, 0))
    if settled:
        assert account.settle(held, 7, "usage:1").balance == 3
        return
    with pytest.raises(HoldClosed) as closed:
        account.settle(held, 7, "usage:1")
    assert closed.value.state == "expired"
    with pytest.raises(HoldClosed):
        account.release(held)
    assert account.spend(10, "usage:2").balance == 0


@pytest.mark.parametrize("by", ["post_due", "spend", "grant", "reverse", "hold"])
def test_whoever_comes_first_lets_a_hold_expire(account: Account, by: str) -> None:
    account.grant(10, "gift")
    account.hold(10, "hold:1", HOUR)
    account.moment += HOUR
    acts: dict[str, Callable[[], object]] = {
        "post_due": lambda: account.do(ledger.post_due),
        "spend": lambda: account.spend(10, "usage:1"),
        "grant": lambda: account.grant(1, "more"),
        "reverse": lambda: account.do(ledger.reverse, "gift", 10, "refund:1"),
        "hold": lambda: account.hold(10, "hold:2"),
    }
    acts[by]()
    expected = {
        "post_due": (10, 0, 0),
        "spend": (0, 0, 0),
        "grant": (11, 0, 0),
        "reverse": (0, 0, 0),
        "hold": (0, 10, 0),
    }
    assert account.sums == expected[by]


def test_the_schedule_finds_what_is_due(account: Account) -> None:
    account.grant(10, "gift")
    account.hold(4, "hold:1", HOUR)
    with unit_at(NOON + HOUR - TICK):
        assert account.team_id not in ledger.accounts_with_due(1000)
    with unit_at(NOON + HOUR):
        assert account.team_id in ledger.accounts_with_due(1000)
    account.moment += HOUR
    account.do(ledger.post_due)
    with unit_at(NOON + HOUR):
        assert account.team_id not in ledger.accounts_with_due(1000)


# A lot that ends while some of it is held.


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "after"])
def test_a_hold_outlives_the_end_of_its_lot(account: Account, late: timedelta) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    held = account.hold(4, "hold:1", 2 * HOUR)
    account.moment = NOON + HOUR + late
    assert account.sums == ((6, 4, 0) if late < timedelta() else (0, 10, 0))
    account.settle(held, 3, "usage:1")
    if late < timedelta():
        assert account.sums == (7, 0, 0)
        return
    # What is left of the lot expires in one entry, that which was free at its end and that which came back.
    assert account.story == [("granted", 10, 10), ("spent", -3, 7), ("expired", -7, 0)]
    assert account.sums == (0, 0, 0)


def test_a_lot_held_by_several_expires_once_with_the_last(account: Account) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    account.grant(10, "long")
    first, second, _third = (account.hold(3, f"hold:{number}", 5 * HOUR) for number in range(3))
    account.moment = NOON + 2 * HOUR
    account.do(ledger.post_due)
    assert account.sums == (10, 10, 0)
    account.release(first)
    account.settle(second, 3, "usage:1")
    assert account.sums == (10, 7, 0)
    account.do(ledger.post_due)
    account.moment = NOON + 5 * HOUR
    assert account.do(ledger.post_due) == 1
    assert account.story[2:] == [("spent", -3, 17), ("expired", -7, 10)]
    assert account.rows.entries[-1]["key"] == "expire:short"


def test_a_lot_that_is_used_up_by_what_was_held_has_nothing_to_expire(account: Account) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    held = account.hold(10, "hold:1", 2 * HOUR)
    account.moment += HOUR
    account.settle(held, 10, "usage:1")
    account.moment += HOUR
    account.do(ledger.post_due)
    assert account.story == [("granted", 10, 10), ("spent", -10, 0)]


def test_a_hold_and_its_lot_that_end_together(account: Account) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    account.hold(4, "hold:1", HOUR)
    account.moment += HOUR
    account.do(ledger.post_due)
    assert account.story == [("granted", 10, 10), ("expired", -10, 0)]
    assert account.sums == (0, 0, 0)


def test_a_grant_that_is_ended_early_lets_the_hold_be(account: Account) -> None:
    account.grant(10, "free")
    held = account.hold(4, "hold:1")
    assert account.do(ledger.end_early, "free") is True
    assert account.do(ledger.end_early, "free") is False
    assert account.sums == (0, 10, 0)
    account.settle(held, 4, "usage:1")
    assert account.story == [("granted", 10, 10), ("spent", -4, 6), ("expired", -6, 0)]


def test_a_clock_set_back_does_not_bring_a_lapsed_lot_back(account: Account) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    held = account.hold(4, "hold:1", 9 * HOUR)
    account.moment = NOON + HOUR
    account.do(ledger.post_due)
    account.moment = NOON + HOUR - TICK
    assert account.sums == (0, 10, 0)
    account.release(held)
    assert account.story == [("granted", 10, 10), ("expired", -10, 0)]


# A refund of credits some of which are held.


def test_a_refund_lets_what_is_held_be(account: Account) -> None:
    """It takes what is free of its lot, then other free credits, and only then there is debt."""
    account.grant(10, "bought", "bundle")
    held = account.hold(6, "hold:1")
    account.grant(3, "gift")
    assert account.do(ledger.reverse, "bought", 10, "refund:1") == 10
    assert account.sums == (0, 6, 3)
    assert account.used(3) == {"bought": 4, "gift": 3}
    assert account.settle(held, 6, "usage:1").balance == -3
    assert account.sums == (0, 0, 3)


def test_what_comes_back_repays_debt_first(account: Account) -> None:
    account.grant(10, "bought", "bundle")
    held = account.hold(10, "hold:1")
    account.do(ledger.reverse, "bought", 4, "refund:1")
    assert account.sums == (0, 10, 4)
    account.release(held)
    assert account.sums == (6, 0, 0)
    assert account.rows.grants[0]["remaining"] == 6
    assert account.story == [("granted", 10, 10), ("reversed", -4, 6)]
    assert account.spend(6, "usage:1").balance == 0


def test_of_a_settled_hold_the_rest_repays(account: Account) -> None:
    account.grant(10, "bought", "bundle")
    held = account.hold(10, "hold:1")
    account.do(ledger.reverse, "bought", 4, "refund:1")
    account.settle(held, 8, "usage:1")
    assert account.sums == (0, 0, 2)
    account.grant(5, "gift")
    assert account.sums == (3, 0, 0)


def test_a_lapsed_lot_that_is_refunded_gives_its_dead_credits_first(account: Account) -> None:
    """Nobody pays twice: what would expire is taken before anything that can be spent."""
    account.grant(10, "bought", "bundle", expires_at=NOON + HOUR)
    held = account.hold(4, "hold:1", 3 * HOUR)
    account.moment += HOUR
    account.do(ledger.post_due)
    assert account.do(ledger.reverse, "bought", 10, "refund:1") == 10
    assert account.sums == (0, 4, 4)
    account.release(held)
    assert account.sums == (0, 0, 0)
    assert account.story == [("granted", 10, 10), ("reversed", -10, 0)]


def test_what_others_paid_for_a_held_part_is_not_taken_again(account: Account) -> None:
    """All of a grant is taken back while some of it is held; this comes back, expires, and there is nothing more to take."""
    account.grant(10, "bought", "bundle", expires_at=NOON + 2 * HOUR)
    account.grant(10, "gift")
    held = account.hold(4, "hold:1")
    assert account.do(ledger.reverse, "bought", 10, "refund:1") == 10
    account.release(held)
    assert account.sums == (10, 0, 0)
    account.moment = NOON + 2 * HOUR
    assert account.sums == (6, 0, 0)
    assert account.do(ledger.reverse, "bought", 10, "refund:2") == 0
    assert account.sums == (6, 0, 0)


# Keys.


def test_the_same_hold_again_is_the_same_hold(account: Account) -> None:
    account.grant(10, "gift")
    held = account.hold(4, "hold:1")
    account.moment += TICK
    again = account.hold(4, "hold:1")
    assert (again, again.new, held.new) == (held.__class__(**{**vars(held), "new": False}), False, True)
    assert account.sums == (6, 4, 0)
    account.release(held)
    assert account.hold(4, "hold:1").state == "released"
    assert account.sums == (10, 0, 0)


@pytest.mark.parametrize("change", [{"amount": 5}, {"expires_in": 2 * HOUR}, {"meter": "send_email", "quantity": 4}])
def test_a_key_for_another_hold_is_refused(account: Account, change: dict[str, Any]) -> None:
    account.grant(10, "gift")
    account.hold(4, "hold:1")
    with pytest.raises(CauseConflict):
        account.do(holds.hold, **{"amount": 4, "cause_key": "hold:1", "expires_in": HOUR} | change)
    assert account.sums == (6, 4, 0)


def test_a_settlement_again_is_the_same_answer(account: Account) -> None:
    account.grant(10, "gift")
    held, other = account.hold(4, "hold:1"), account.hold(4, "hold:2")
    first = account.settle(held, 3, "usage:1")
    account.spend(1, "usage:2")
    account.moment += 2 * HOUR
    assert account.settle(held, 3, "usage:1") == first
    for again, amount, key, refusal in (
        (held, 2, "usage:1", CauseConflict),
        (other, 3, "usage:1", CauseConflict),
        (other, 1, "usage:2", CauseConflict),
        (held, 3, "usage:3", HoldClosed),
        (other, 3, "usage:3", HoldClosed),
    ):
        with pytest.raises(refusal):
            account.settle(again, amount, key)


def test_one_cause_is_one_fact(account: Account) -> None:
    account.grant(10, "gift")
    account.spend(1, "usage:1")
    held = account.hold(4, "hold:1")
    for key in ("gift", "usage:1"):
        with pytest.raises(CauseConflict):
            account.hold(1, key)
        with pytest.raises(CauseConflict):
            account.settle(held, 1, key)
    for act in (
        lambda: account.spend(4, "hold:1"),
        lambda: account.grant(4, "hold:1"),
        lambda: account.do(ledger.reverse, "gift", 4, "hold:1"),
        lambda: account.settle(held, 4, "hold:1"),
    ):
        with pytest.raises(CauseConflict):
            act()
    assert account.sums == (5, 4, 0)


# What is no hold.


def test_no_more_is_settled_than_is_held(account: Account) -> None:
    account.grant(10, "gift")
    held = account.hold(4, "hold:1")
    with pytest.raises(ValueError, match="holds 4 credits, so 5 cannot be settled"):
        account.settle(held, 5, "usage:1")
    assert account.sums == (6, 4, 0)


@pytest.mark.parametrize("hold_id", ["", "hold_x", "hold_01JD3M8W6Q4Z9V0K2T5R7X1YBC", "\0"])
def test_a_hold_nobody_knows(account: Account, hold_id: str) -> None:
    account.grant(10, "gift")
    with pytest.raises(UnknownHold):
        account.do(holds.settle, hold_id, 1, "usage:1")
    with pytest.raises(UnknownHold):
        account.do(holds.release, hold_id)


def test_another_teams_hold_is_unknown(account: Account) -> None:
    account.grant(10, "gift")
    held = account.hold(4, "hold:1")
    other = Account()
    other.grant(10, "gift")
    for act in (lambda: other.settle(held, 1, "usage:1"), lambda: other.release(held)):
        with pytest.raises(UnknownHold):
            act()
    assert account.sums == (6, 4, 0)


@pytest.mark.parametrize(
    ("amount", "expires_in", "refusal"),
    [
        (0, HOUR, ValueError),
        (-1, HOUR, ValueError),
        (1.0, HOUR, TypeError),
        (True, HOUR, TypeError),
        (1, timedelta(), ValueError),
        (1, timedelta(milliseconds=999), ValueError),
        (1, timedelta(days=7) + TICK, ValueError),
    ],
)
def test_what_is_no_hold(account: Account, amount: Any, expires_in: timedelta, refusal: type[Exception]) -> None:
    account.grant(10, "gift")
    with pytest.raises(refusal):
        account.hold(amount, "hold:1", expires_in)
    assert account.sums == (10, 0, 0)


def test_what_is_shown_is_what_can_be_spent(account: Account) -> None:
    account.grant(10, "short", expires_at=NOON + HOUR)
    account.grant(10, "long")
    account.hold(12, "hold:1", 2 * HOUR)
    found = account.do(queries.summary)
    assert (found.available, [(grant.remaining, grant.held) for grant in found.grants]) == (8, [(10, 10), (10, 2)])
