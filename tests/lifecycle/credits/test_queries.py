"""What the pages and the API read: exactly what can be spent now, where it comes from, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from portal.credits import ledger, queries
from portal.credits.queries import Balance, Summary
from tests.lifecycle.credits.account import make_still_clock, new_team, unit_at

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
MONTH = timedelta(days=28)
HOUR = timedelta(hours=1)


@pytest.fixture
def team_id(app: Flask) -> str:
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    return new_team()


def give(
    team_id: str, kind: str, amount: int, key: str, start: datetime = NOON, end: datetime | None = NOON + MONTH
) -> None:
    with unit_at(NOON):
        ledger.grant(team_id, kind=kind, amount=amount, cause_key=key, source="Pro", effective_at=start, expires_at=end)


def spend(team_id: str, amount: int, key: str, moment: datetime = NOON) -> None:
    with unit_at(moment):
        ledger.spend(team_id, amount, key)


def summary(team_id: str, moment: datetime = NOON) -> Summary:
    with unit_at(moment):
        return queries.summary(team_id)


def test_a_team_without_an_account_has_nothing(team_id: str) -> None:
    assert queries.balance(team_id) == Balance(0, 0, 0, 0)
    assert queries.grants_of(team_id) == []
    assert queries.summary(team_id) == Summary(0, 0, 0, 0, 0, 0, None, 0, [])


def test_the_card_of_a_month_in_use(team_id: str) -> None:
    give(team_id, "subscription", 5000, "plan")
    give(team_id, "bundle", 1000, "bundle", end=None)
    give(team_id, "gift", 50, "gift", end=NOON + HOUR)
    spend(team_id, 3470, "usage:1")
    card = summary(team_id)
    assert (card.available, card.plan_left, card.bundle_left, card.used_this_period) == (2580, 1580, 1000, 3470)
    assert (card.next_reset_at, card.next_reset_amount, card.debt) == (NOON + MONTH, 5000, 0)
    assert [(grant.kind_label, grant.remaining, grant.live) for grant in card.grants] == [
        ("Plan", 1580, True),
        ("Bundle", 1000, True),
    ]


def test_a_plan_that_is_used_up_still_says_when_it_comes_again(team_id: str) -> None:
    give(team_id, "bundle", 1000, "bundle", end=None)
    give(team_id, "subscription", 100, "plan")
    spend(team_id, 130, "usage:1")
    card = summary(team_id)
    assert (card.plan_left, card.bundle_left, card.used_this_period) == (0, 970, 130)
    assert (card.next_reset_at, card.next_reset_amount) == (NOON + MONTH, 100)
    assert [(grant.kind, grant.remaining) for grant in card.grants] == [("subscription", 0), ("bundle", 970)]


def test_what_is_used_counts_spends_and_nothing_else(team_id: str) -> None:
    give(team_id, "bundle", 1000, "bundle", end=None)
    spend(team_id, 7, "usage:before")
    give(team_id, "subscription", 100, "plan")
    give(team_id, "gift", 50, "gift", end=NOON + HOUR)
    spend(team_id, 10, "usage:1")
    with unit_at(NOON):
        ledger.reverse(team_id, "bundle", 500, "refund:1")
    # The gift is over, though nobody has posted that yet.
    assert summary(team_id, NOON + 2 * HOUR).used_this_period == 10
    spend(team_id, 20, "usage:2", NOON + 2 * HOUR)
    assert summary(team_id, NOON + 2 * HOUR).used_this_period == 30


def test_a_new_period_is_shown_before_anybody_has_posted_it(team_id: str) -> None:
    give(team_id, "subscription", 100, "january")
    give(team_id, "subscription", 200, "february", NOON + MONTH, NOON + 2 * MONTH)
    spend(team_id, 30, "usage:1")
    before = summary(team_id, NOON + MONTH - timedelta(microseconds=1))
    assert (before.available, before.used_this_period) == (70, 30)
    assert (before.next_reset_at, before.next_reset_amount) == (NOON + MONTH, 200)
    assert [grant.live for grant in before.grants] == [True, False]
    after = summary(team_id, NOON + MONTH)
    assert (after.available, after.plan_left, after.used_this_period) == (200, 200, 0)
    assert (after.next_reset_at, after.next_reset_amount) == (NOON + 2 * MONTH, 200)
    assert [grant.amount for grant in after.grants] == [200]


def test_after_the_last_period_nothing_is_to_come(team_id: str) -> None:
    give(team_id, "subscription", 100, "plan")
    card = summary(team_id, NOON + MONTH)
    assert (card.available, card.next_reset_at, card.next_reset_amount, card.grants) == (0, None, 0, [])


def test_a_plan_that_ended_early_is_not_shown(team_id: str) -> None:
    """The free plan's grant, which a subscription has replaced, whether or not it was used up."""
    for key, spent in (("free", 0), ("used up", 10)):
        give(team_id, "subscription", 10, key)
        if spent:
            spend(team_id, spent, "usage:1")
        with unit_at(NOON):
            ledger.end_early(team_id, key)
    give(team_id, "subscription", 5000, "plan")
    card = summary(team_id)
    assert [grant.amount for grant in card.grants] == [5000]
    assert (card.available, card.next_reset_amount) == (5000, 5000)


def test_of_two_plans_the_later_one_says_what_comes(team_id: str) -> None:
    give(team_id, "subscription", 1000, "starter")
    give(team_id, "subscription", 5000, "pro", NOON - HOUR, NOON + MONTH + HOUR)
    give(team_id, "subscription", 2000, "plus", NOON, NOON + MONTH + HOUR)
    card = summary(team_id)
    assert (card.plan_left, card.next_reset_at, card.next_reset_amount) == (8000, NOON + MONTH + HOUR, 2000)


def test_debt_is_shown(team_id: str) -> None:
    give(team_id, "bundle", 100, "bundle", end=None)
    spend(team_id, 80, "usage:1")
    with unit_at(NOON):
        ledger.reverse(team_id, "bundle", 100, "refund:1")
    assert (summary(team_id).available, summary(team_id).debt) == (0, 80)


def test_what_a_subscription_was_granted(team_id: str) -> None:
    give(team_id, "subscription", 100, "period:sub_1:trial:1")
    give(team_id, "subscription", 200, "period:sub_1:plan:2", NOON + HOUR)
    give(team_id, "subscription", 900, "period:sub_12:plan:3", NOON + HOUR)
    assert queries.period_credits_granted(team_id, "sub_1") == 200
    assert queries.period_credits_granted(team_id, "sub_") == 0
    assert queries.period_credits_granted(new_team(), "sub_1") == 0
