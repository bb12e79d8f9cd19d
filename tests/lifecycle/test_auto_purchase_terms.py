"""Nothing is bought automatically but by the terms that are agreed to when the card is charged, and with the card that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from portal.catalog.models import Bundle
from portal.core.database import db
from portal.core.times import month_end
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import purchase_rules
from portal.credits.purchase_models import AutoPurchaseConsent
from portal.credits.purchase_rules import RuleRefused
from portal.credits.purchase_size import Limits, day_end
from portal.credits.purchase_terms import Terms
from portal.credits.purchase_words import canceled_words
from tests.auto_buyers import CENTS, CREDITS, DECLINES, WIDE, WORKS, AutoBuyer
from tests.cast import Cast
from tests.plan_changes import now
from tests.purchases import violations
from tests.stage import Stage
from tests.trouble import call_fault, trouble

ONE_A_DAY = Limits(day_count=1, month_count=5, day_cents=CENTS, month_cents=5 * CENTS)
A_MINUTE, HALF_AN_HOUR, TWO_HOURS = timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=2)
OTHER_CARD = "pm_card_mastercard"


def put_off(stage: Stage, cast: Cast) -> AutoBuyer:
    """One whose purchase of three bundles waits since the card before this one was refused."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    buyer.spend(200)
    buyer.settle()
    buyer.switch_card(WORKS)
    run_in_unit(lambda: purchase_rules.arm_for_new_card(cast.team_id))
    db.session.remove()
    assert not buyer.spend(3_200)
    buyer.settle()
    assert [(row.state, row.quantity) for row in buyer.intents()] == [("failed", 1), ("pending", 3)]
    return buyer


@pytest.mark.parametrize("turned_off", [False, True])
def test_what_was_put_off_is_not_charged_once_other_terms_are_agreed_to(
    cast: Cast, stage: Stage, *, turned_off: bool
) -> None:
    """The next one is begun by the new terms, whether or not it was off in between."""
    buyer = put_off(stage, cast)
    if turned_off:
        run_in_unit(lambda: purchase_rules.turn_off(cast.team_id, cast.owner.user_id))
        db.session.remove()
    buyer.turn_on(ONE_A_DAY)
    buyer.settle()
    assert buyer.states()[1:] == [("canceled", "terms_changed")]
    assert canceled_words("terms_changed") != canceled_words(None)
    assert buyer.charges() == ["failed"]
    buyer.pass_time(A_MINUTE)
    assert [(row.state, row.amount) for row in buyer.intents()[2:]] == [("granted", CENTS)]
    assert buyer.charges() == ["failed", "succeeded"]
    assert violations() == []


def test_what_was_put_off_is_charged_to_no_card_but_the_one_that_is_saved_by_then(cast: Cast, stage: Stage) -> None:
    buyer = put_off(stage, cast)
    shown = buyer.switch_card(OTHER_CARD)
    buyer.pass_time(TWO_HOURS)
    buyer.look_now()
    assert [state for state, _code in buyer.states()] == ["failed", "canceled", "granted"]
    assert buyer.states()[1] == ("canceled", "card_changed")
    assert [intent["payment_method"] for intent in buyer.at_stripe()][-1] == shown
    assert buyer.charges() == ["failed", "succeeded"]


def test_an_intent_that_is_made_and_not_charged_ends_with_its_terms(cast: Cast, stage: Stage) -> None:
    """Stripe does not answer between the two calls, and other terms are agreed to meanwhile."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    buyer.spend(200)
    with trouble(stage, call_fault("drop_before", "GET /v1/payment_intents/*", None)):
        stage.drain()
    assert buyer.states() == [("unknown", None)]
    buyer.turn_on(WIDE, threshold=600)
    buyer.look_now()
    assert buyer.states() == [("canceled", "terms_changed")]
    assert [intent["status"] for intent in buyer.at_stripe()] == ["canceled"]
    buyer.pass_time(A_MINUTE)
    assert (buyer.charges(), buyer.granted()) == (["succeeded"], [CREDITS])


# What the bundle gives


def now_gives(**values: int | None) -> None:
    """As after a catalog sync: what a bundle gives is changed in place, at the same price."""
    with unit_of_work() as session:
        session.execute(update(Bundle).where(Bundle.key == "credits_1000").values(**values))
    db.session.remove()


@pytest.fixture
def changing(stage: Stage) -> Iterator[None]:
    yield
    db.session.rollback()
    now_gives(credits=CREDITS, expires_after_months=None)


@pytest.mark.parametrize("less", [{"credits": 500}, {"expires_after_months": 12}])
def test_less_for_the_same_money_is_not_what_was_agreed_to(
    cast: Cast, stage: Stage, changing: None, less: dict[str, int]
) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    now_gives(**less)
    buyer.spend(200)
    assert (buyer.rule().state, buyer.rule().reason, buyer.intents()) == ("stopped", "price_changed", [])
    with pytest.raises(RuleRefused, match="not_sold"):
        buyer.arm_again()
    now_gives(credits=CREDITS, expires_after_months=None)
    buyer.arm_again()
    buyer.pass_time(A_MINUTE)
    assert buyer.granted() == [CREDITS]


def test_more_for_the_same_money_is_bought(cast: Cast, stage: Stage, changing: None) -> None:
    now_gives(expires_after_months=6)
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    (words,) = buyer._all(select(AutoPurchaseConsent.words))
    assert "1,000 credits for $18.00 USD, which stay valid for 6 months; several" in words
    now_gives(credits=1_200, expires_after_months=12)
    buyer.spend(200)
    buyer.settle()
    assert buyer.granted() == [1_200]


def test_a_consent_of_before_says_nothing_of_an_end(
    cast: Cast, stage: Stage, changing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its credits would end was not among its words, so that it goes on as it did."""
    now_gives(expires_after_months=12)
    as_json = Terms.as_json
    with monkeypatch.context() as before:
        before.setattr(
            Terms, "as_json", lambda terms: {k: v for k, v in as_json(terms).items() if k != "expires_after_months"}
        )
        buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    buyer.spend(200)
    buyer.settle()
    assert buyer.granted() == [CREDITS]


# The day of the charge


def go_to(stage: Stage, moment: datetime) -> None:
    stage.advance(moment - now())
    stage.deliver_all()


@pytest.mark.parametrize("end", ["day", "month"])
def test_what_is_charged_on_the_next_day_counts_for_that_day(cast: Cast, stage: Stage, end: str) -> None:
    """It was begun before midnight and waits, here for the worker, until after it."""
    limits = ONE_A_DAY if end == "day" else Limits(day_count=1, month_count=1, day_cents=CENTS, month_cents=CENTS)
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, limits=limits)
    tomorrow = now() + timedelta(days=1)
    midnight = day_end(tomorrow) if end == "day" else month_end(tomorrow)
    go_to(stage, midnight - HALF_AN_HOUR)
    buyer.spend_down_to(400)
    stage.advance(2 * HALF_AN_HOUR)
    buyer.settle()
    assert buyer.charges() == ["succeeded"]
    stage.advance(HALF_AN_HOUR)
    buyer.spend_down_to(100)
    buyer.settle()
    assert buyer.charges() == ["succeeded"], "and not twice on one day"
    assert (buyer.rule().state, buyer.rule().reason) == ("capped", end)
    buyer.pass_time((month_end(now()) if end == "month" else day_end(now())) - now() + A_MINUTE)
    buyer.spend_down_to(100)
    buyer.settle()
    assert buyer.charges() == ["succeeded"] * 2
    assert violations() == []


def test_what_is_known_to_be_charged_only_on_the_next_day_leaves_that_day_free(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, limits=ONE_A_DAY)
    go_to(stage, day_end(now() + timedelta(days=1)) - HALF_AN_HOUR)
    buyer.spend_down_to(400)
    lost = call_fault("drop_before", "GET /v1/payment_intents/*", None, skip=1)  # the look before it is charged
    with trouble(stage, call_fault("drop_after", "POST /v1/payment_intents/*/confirm", None), lost):
        stage.drain()
    assert (buyer.states(), buyer.charges()) == ([("unknown", None)], ["succeeded"])
    stage.new_events()  # lost
    stage.advance(2 * HALF_AN_HOUR)
    buyer.look_now()
    buyer.spend_down_to(100)
    buyer.settle()
    assert buyer.states() == [("granted", None)] * 2
    buyer.spend_down_to(100)
    assert (buyer.rule().state, buyer.rule().reason) == ("capped", "day")
