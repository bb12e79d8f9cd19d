"""The ledger's rules one by one, each as its smallest story. The time is exactly what the story says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from portal.credits import ledger
from tests.lifecycle.credits.account import unit_at
from tests.lifecycle.credits.story import HOUR, NOON, TICK, Account


def test_a_spend_takes_what_ends_first(account: Account) -> None:
    account.grant(10, "never")
    account.grant(10, "bought", "bundle", expires_at=NOON + 2 * HOUR)
    account.grant(10, "given", "gift", expires_at=NOON + 2 * HOUR)
    account.grant(10, "sorry", "adjustment", expires_at=NOON + 2 * HOUR)
    account.grant(10, "plan", "subscription", expires_at=NOON + 2 * HOUR)
    account.grant(10, "soon", "bundle", expires_at=NOON + HOUR)
    for number in range(6):
        account.spend(10, f"usage:{number}")
    first = ["soon", "plan", "given", "sorry", "bought", "never"]
    assert [account.used(7 + number) for number in range(6)] == [{key: 10} for key in first]


def test_a_spend_may_take_from_several_grants(account: Account) -> None:
    account.grant(10, "second")
    account.grant(10, "first", expires_at=NOON + HOUR)
    account.spend(15, "usage:1")
    assert account.used(3) == {"first": 10, "second": 5}


def test_a_catalog_may_have_the_kinds_spent_in_order(app: Flask, account: Account, monkeypatch: Any) -> None:
    monkeypatch.setitem(app.config, "SPEND_ORDER", "kind")
    account.grant(10, "bundle", "bundle", expires_at=NOON + HOUR)
    account.grant(10, "later", "gift", expires_at=NOON + 2 * HOUR)
    account.grant(10, "sooner", "adjustment", expires_at=NOON + HOUR)
    account.grant(10, "plan", "subscription")
    for number in range(4):
        account.spend(10, f"usage:{number}")
    first = ["plan", "sooner", "later", "bundle"]
    assert [account.used(5 + number) for number in range(4)] == [{key: 10} for key in first]


def test_an_unknown_spending_order_is_refused(app: Flask, account: Account, monkeypatch: Any) -> None:
    monkeypatch.setitem(app.config, "SPEND_ORDER", "price")
    with pytest.raises(ledger.LedgerError, match="price"):
        account.grant(10, "gift")


def test_a_spend_is_whole_or_not_at_all(account: Account) -> None:
    account.grant(10, "gift")
    with pytest.raises(ledger.InsufficientCredits) as refused:
        account.spend(11, "usage:1")
    assert (refused.value.available, refused.value.cost) == (10, 11)
    assert account.spend(10, "usage:1").balance == 0
    assert account.story == [("granted", 10, 10), ("spent", -10, 0)]


def test_a_team_that_was_given_nothing_has_nothing(account: Account) -> None:
    assert account.balance == (0, 0)
    with pytest.raises(ledger.InsufficientCredits):
        account.spend(1, "usage:1")


@pytest.mark.parametrize(("early", "available"), [(TICK, 10), (timedelta(0), 0), (-TICK, 0)])
def test_a_grant_ends_at_its_instant(account: Account, early: timedelta, available: int) -> None:
    account.grant(10, "gift", expires_at=NOON + HOUR)
    account.moment = NOON + HOUR - early
    assert account.balance == (available, 0)
    if available:
        account.spend(10, "usage:1")
    else:
        with pytest.raises(ledger.InsufficientCredits):
            account.spend(1, "usage:1")


@pytest.mark.parametrize(("early", "over"), [(TICK, False), (timedelta(0), True), (-TICK, True)])
def test_a_lot_that_is_frozen_ends_whole_at_its_instant(account: Account, early: timedelta, over: bool) -> None:
    """Fault 30: exactly then, at a deduction, what is frozen ends with the rest, and repays debt before it does."""
    account.grant(10, "bundle", "bundle", expires_at=NOON + HOUR)
    account.do(ledger.freeze, "bundle", 6, "dispute:1:frozen")
    assert account.balance == (4, 0)
    account.grant(20, "other", "bundle")
    account.spend(20, "usage:1")  # 4 of the first, 16 of the other
    account.do(ledger.reverse, "other", 20, "refund:1")  # 4 of it are left, 16 are owed
    account.moment = NOON + HOUR - early
    assert account.balance == ((0, 10) if over else (0, 16))
    with pytest.raises(ledger.InsufficientCredits):
        account.spend(1, "usage:2")
    account.do(ledger.post_due)
    assert account.story[-1] == (("thawed", 6, -10) if over else ("reversed", -20, -16))
    assert account.do(ledger.thaw, "bundle", 6, "dispute:1:thawed") == (0 if over else 6)
    assert account.balance == (0, 10)


def test_a_spend_leaves_what_is_frozen_alone(account: Account) -> None:
    """4 of the first lot, whose turn it is, and 6 of the second; what the bank gives back is there whole."""
    account.grant(10, "first", "bundle", expires_at=NOON + HOUR)
    account.grant(10, "second", "bundle")
    account.do(ledger.freeze, "first", 6, "dispute:1:frozen")
    account.spend(10, "usage:1")
    assert account.balance == (4, 0)
    assert account.do(ledger.thaw, "first", 6, "dispute:1:thawed") == 6
    assert account.balance == (10, 0)


@pytest.mark.parametrize(("early", "available"), [(TICK, 0), (timedelta(0), 10), (-TICK, 10)])
def test_a_grant_begins_at_its_instant(account: Account, early: timedelta, available: int) -> None:
    account.grant(10, "gift", effective_at=NOON + HOUR)
    assert account.story == []
    account.moment = NOON + HOUR - early
    assert account.balance == (available, 0)
    if available:
        account.spend(10, "usage:1")
    else:
        with pytest.raises(ledger.InsufficientCredits):
            account.spend(1, "usage:1")


def test_one_period_follows_another_without_overlap(account: Account) -> None:
    account.grant(10, "january", "subscription", expires_at=NOON + HOUR)
    account.grant(10, "february", "subscription", effective_at=NOON + HOUR, expires_at=NOON + 2 * HOUR)
    account.moment = NOON + HOUR
    assert account.do(ledger.post_due) == 2
    assert account.story == [("granted", 10, 10), ("expired", -10, 0), ("granted", 10, 10)]
    assert account.do(ledger.post_due) == 0


def test_a_grant_that_is_over_when_it_comes_is_recorded_and_expires(account: Account) -> None:
    """The news of a payment may come after the period it paid for: it is in the ledger, but cannot be spent."""
    assert account.grant(10, "late", effective_at=NOON - 2 * HOUR, expires_at=NOON - HOUR)
    assert account.story == [("granted", 10, 10), ("expired", -10, 0)]
    assert account.grant(10, "ends at once", expires_at=NOON - HOUR)
    assert account.balance == (0, 0)


def test_a_grant_that_is_over_still_repays_debt(account: Account) -> None:
    account.grant(10, "spent")
    account.spend(10, "usage:1")
    account.do(ledger.reverse, "spent", 4, "refund:1")
    account.grant(10, "late", effective_at=NOON - 2 * HOUR, expires_at=NOON - HOUR)
    assert account.story[-2:] == [("granted", 10, 6), ("expired", -6, 0)]
    assert account.balance == (0, 0)


def test_the_same_cause_again_is_no_second_grant(account: Account) -> None:
    assert account.grant(10, "gift")
    assert not account.grant(10, "gift")
    assert not account.grant(10, "gift", expires_at=NOON + HOUR)
    assert account.story == [("granted", 10, 10)]


@pytest.mark.parametrize(("amount", "kind"), [(11, "gift"), (10, "bundle")])
def test_a_cause_stands_for_one_grant(account: Account, amount: int, kind: str) -> None:
    account.grant(10, "gift", effective_at=NOON + HOUR)
    with pytest.raises(ledger.CauseConflict):
        account.grant(amount, "gift", kind)


def test_the_same_key_has_the_same_answer(account: Account) -> None:
    account.grant(10, "gift", expires_at=NOON + HOUR)
    first = account.spend(3, "usage:1")
    account.spend(2, "usage:2")
    account.moment = NOON + 2 * HOUR
    assert account.spend(3, "usage:1") == first
    with pytest.raises(ledger.CauseConflict):
        account.spend(4, "usage:1")


def test_a_key_that_waits_is_taken_too(account: Account) -> None:
    """A grant to come has no entry yet, and a reversal may never have one; their keys are theirs all the same."""
    account.grant(10, "coming", effective_at=NOON + HOUR)
    account.do(ledger.reverse, "coming", 1, "refund:1")
    account.grant(10, "gift")
    for key in ("coming", "refund:1"):
        with pytest.raises(ledger.CauseConflict):
            account.spend(1, key)
    with pytest.raises(ledger.CauseConflict):
        account.grant(1, "refund:1")
    with pytest.raises(ledger.CauseConflict):
        account.do(ledger.reverse, "gift", 1, "coming")


def test_a_reversal_takes_what_remains_of_its_grant_first(account: Account) -> None:
    account.grant(10, "other", expires_at=NOON + HOUR)
    account.grant(10, "bundle", "bundle")
    assert account.do(ledger.reverse, "bundle", 4, "refund:1") == 4
    assert account.used(3) == {"bundle": 4}


def test_a_reversal_of_what_is_spent_takes_other_credits_before_it_makes_debt(account: Account) -> None:
    account.grant(10, "bundle", "bundle")
    account.spend(8, "usage:1")
    account.grant(5, "gift")
    assert account.do(ledger.reverse, "bundle", 10, "refund:1") == 10
    assert account.used(4) == {"bundle": 2, "gift": 5}
    assert account.balance == (0, 3)
    account.grant(2, "little")
    assert account.balance == (0, 1)
    account.grant(2, "more")
    assert account.balance == (1, 0)


def test_together_reversals_take_no_more_than_was_given(account: Account) -> None:
    account.grant(10, "bundle", "bundle")
    account.grant(100, "gift")
    assert [account.do(ledger.reverse, "bundle", 6, f"refund:{n}") for n in range(3)] == [6, 4, 0]
    assert account.balance == (100, 0)


def test_what_has_expired_is_not_taken_back(account: Account) -> None:
    account.grant(10, "plan", "subscription", expires_at=NOON + HOUR)
    account.spend(3, "usage:1")
    account.moment = NOON + HOUR
    assert account.do(ledger.reverse, "plan", 10, "refund:1") == 3
    assert account.balance == (0, 3)


def test_a_reversal_of_a_grant_to_come_waits_for_its_start(account: Account) -> None:
    account.grant(10, "coming", effective_at=NOON + HOUR)
    assert account.do(ledger.reverse, "coming", 4, "refund:1") == 0
    assert account.do(ledger.reverse, "coming", 9, "refund:2") == 0
    account.moment = NOON + HOUR
    assert account.balance == (0, 0)
    account.do(ledger.post_due)
    assert account.story == [("granted", 10, 10), ("reversed", -4, 6), ("reversed", -6, 0)]
    assert account.do(ledger.reverse, "coming", 4, "refund:1") == 4
    assert account.do(ledger.reverse, "coming", 9, "refund:2") == 6


def test_a_reversal_again_is_no_second_reversal(account: Account) -> None:
    account.grant(10, "one")
    account.grant(10, "two")
    assert [account.do(ledger.reverse, "one", 4, "refund:1") for _ in range(3)] == [4, 4, 4]
    for grant, amount in (("one", 5), ("two", 4)):
        with pytest.raises(ledger.CauseConflict):
            account.do(ledger.reverse, grant, amount, "refund:1")
    assert account.balance == (16, 0)


@pytest.mark.parametrize("act", [lambda a: a.do(ledger.reverse, "?", 1, "r"), lambda a: a.do(ledger.end_early, "?")])
def test_a_grant_nobody_knows(account: Account, act: Callable[[Account], object]) -> None:
    with pytest.raises(ledger.UnknownGrant):
        act(account)


def test_another_teams_grant_is_unknown(account: Account) -> None:
    account.grant(10, "gift")
    with pytest.raises(ledger.UnknownGrant):
        Account().do(ledger.reverse, "gift", 1, "refund:1")


def test_a_grant_ends_early_once(account: Account) -> None:
    account.grant(10, "free", "subscription", expires_at=NOON + HOUR)
    account.spend(4, "usage:1")
    assert account.do(ledger.end_early, "free")
    assert not account.do(ledger.end_early, "free")
    account.moment = NOON + 2 * HOUR
    assert account.do(ledger.post_due) == 0
    assert account.story == [("granted", 10, 10), ("spent", -4, 6), ("expired", -6, 0)]


def test_a_grant_that_ends_before_it_begins_never_does(account: Account) -> None:
    account.grant(10, "coming", effective_at=NOON + HOUR)
    account.do(ledger.reverse, "coming", 4, "refund:1")
    assert account.do(ledger.end_early, "coming")
    account.moment = NOON + 2 * HOUR
    assert account.do(ledger.post_due) == 0
    assert account.do(ledger.reverse, "coming", 10, "refund:2") == 0
    assert account.story == []


@pytest.mark.parametrize("looks", [[HOUR, 2 * HOUR], [2 * HOUR]], ids=["in between", "only then"])
def test_what_is_used_up_at_its_start_is_the_same_whenever_somebody_looks(
    account: Account, looks: list[timedelta]
) -> None:
    account.grant(10, "coming", effective_at=NOON + HOUR, expires_at=NOON + 2 * HOUR)
    account.do(ledger.reverse, "coming", 10, "refund:1")
    for later in looks:
        account.moment = NOON + later
        account.do(ledger.post_due)
    assert [grant["state"] for grant in account.rows.grants] == ["used"]
    assert account.story == [("granted", 10, 10), ("reversed", -10, 0)]
    assert account.do(ledger.end_early, "coming")


def test_a_clock_put_back_a_little_changes_nothing(account: Account) -> None:
    """What was over stays so, what had begun goes on, and the entries stay in the order of their times."""
    account.grant(10, "short", expires_at=NOON + HOUR)
    account.grant(10, "long", effective_at=NOON + HOUR)
    account.moment = NOON + HOUR
    account.do(ledger.post_due)
    account.moment = NOON + TICK
    assert account.balance == (10, 0)
    account.spend(1, "usage:1")
    account.grant(5, "new", effective_at=NOON + HOUR)
    assert account.balance == (14, 0)
    times = [entry["at"] for entry in account.rows.entries]
    assert times == sorted(times)
    assert account.do(ledger.post_due) == 0


def test_a_clock_that_was_far_ahead_is_believed_again(account: Account) -> None:
    """What it ended stays ended; what comes after is not over before it has begun."""
    account.grant(10, "plan", "subscription", expires_at=NOON + 24 * HOUR)
    account.grant(10, "bundle", "bundle")
    account.moment = NOON + 400 * 24 * HOUR
    account.do(ledger.post_due)
    account.moment = NOON + HOUR
    assert account.balance == (10, 0)
    account.grant(20, "next", "subscription", expires_at=NOON + 24 * HOUR)
    assert account.balance == (30, 0)
    assert account.spend(25, "usage:1").balance == 5


def test_what_makes_no_entry_does_not_move_the_time_of_the_account(account: Account) -> None:
    """Else a clock that was wrong for a moment, and was only looked at, would let later entries step back."""
    account.grant(10, "spent")
    account.spend(10, "usage:1")
    account.moment = NOON - 3 * HOUR
    assert account.do(ledger.end_early, "spent")
    account.moment = NOON - HOUR
    account.grant(10, "new")
    times = [entry["at"] for entry in account.rows.entries]
    assert times == [NOON.timestamp()] * 3


def test_a_refusal_may_keep_what_was_due(account: Account) -> None:
    account.grant(10, "gift", expires_at=NOON + HOUR)
    account.moment = NOON + HOUR
    with unit_at(account.moment), pytest.raises(ledger.InsufficientCredits):
        ledger.spend(account.team_id, 1, "usage:1")
    assert account.story == [("granted", 10, 10), ("expired", -10, 0)]


def test_accounts_with_something_due_are_found(account: Account) -> None:
    account.grant(10, "coming", effective_at=NOON + HOUR, expires_at=NOON + 2 * HOUR)
    found: list[list[str]] = []
    for hours in (0, 1, 2):
        with unit_at(NOON + hours * HOUR):
            found.append(ledger.accounts_with_due(10))
            assert ledger.post_due(account.team_id) == bool(hours)
    assert found == [[], [account.team_id], [account.team_id]]


@pytest.mark.parametrize("amount", [0, -1, 2**53 + 1])
@pytest.mark.parametrize("act", ["grant", "spend", "reverse"])
def test_what_is_no_amount(account: Account, act: str, amount: int) -> None:
    with pytest.raises(ValueError, match="an amount of credits is from 1"):
        _act(account, act, amount, "key")


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
@pytest.mark.parametrize("act", ["grant", "spend", "reverse"])
def test_what_is_no_number(account: Account, act: str, amount: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        _act(account, act, amount, "key")


@pytest.mark.parametrize("key", ["", "expire:grant:1", "x" * 501, "nul\0", "half \ud800"])
@pytest.mark.parametrize("act", ["grant", "spend", "reverse"])
def test_what_is_no_key(account: Account, act: str, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        _act(account, act, 1, key)


def _act(account: Account, act: str, amount: Any, key: str) -> None:
    acts: dict[str, Callable[[], object]] = {
        "grant": lambda: account.grant(amount, key),
        "spend": lambda: account.spend(amount, key),
        "reverse": lambda: account.do(ledger.reverse, "gift", amount, key),
    }
    acts[act]()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "present"}, "kind"),
        ({"effective_at": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001 - the refusal is what is tested
        ({"effective_at": NOON, "expires_at": NOON}, "end after it begins"),
        ({"source": "nul\0"}, "cannot be stored"),
    ],
)
def test_what_is_no_grant(account: Account, change: dict[str, Any], message: str) -> None:
    values = {"kind": "gift", "amount": 1, "cause_key": "gift", "source": ""} | change
    with pytest.raises(ValueError, match=message):
        account.do(ledger.grant, **values)


def test_any_text_may_be_a_key(account: Account) -> None:
    for number, key in enumerate(["Ключ 🗝", "'; drop table teams; --", ":team_id", "%s %(x)s {}", " ", "x" * 500]):
        account.grant(10, f"gift:{number}")
        assert account.spend(10, key) == account.spend(10, key)


def test_large_amounts_are_exact(account: Account) -> None:
    account.grant(2**53, "large")
    account.grant(2**53 - 1, "almost")
    account.spend(2**53, "usage:1")
    assert account.balance == (2**53 - 1, 0)


def test_the_largest_balance_is_never_passed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "AMOUNT_MAX", 2**63)
    account.grant(2**62, "half", effective_at=NOON + HOUR)
    with pytest.raises(ledger.CreditOverflow):
        account.grant(2**62, "too much")
    account.grant(2**62 - 1, "just fits", effective_at=NOON + HOUR)
    account.moment = NOON + HOUR
    assert account.balance == (2**63 - 1, 0)
    account.do(ledger.post_due)
    assert account.rows.account["available"] == 2**63 - 1


def test_the_largest_debt_is_never_passed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "AMOUNT_MAX", 2**63)
    for key in ("one", "two"):
        account.grant(2**62, key)
        account.spend(2**62, f"usage:{key}")
    account.do(ledger.reverse, "one", 2**62, "refund:one")
    with pytest.raises(ledger.CreditOverflow):
        account.do(ledger.reverse, "two", 2**62, "refund:two")
    assert account.do(ledger.reverse, "two", 2**62 - 1, "refund:two") == 2**62 - 1
    assert account.balance == (0, 2**63 - 1)
