"""Whatever Stripe, the network and the workers do in the middle of an auto-purchase: never two charges, never a lost grant."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from portal.billing.gateway import Gateway
from portal.core.database import db
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import purchase_rules
from portal.credits.jobs import drain_purchases
from portal.credits.purchase_outcome import LOOK_AGAIN
from portal.credits.purchase_size import Limits
from portal.credits.purchase_words import canceled_words
from tests.auto_buyers import ASKS, CREDITS, DECLINES, WORKS, AutoBuyer
from tests.cast import Cast
from tests.crashing import POINTS_MIN, Crasher, crasher, nothing_is_locked, points_of
from tests.plan_changes import now
from tests.purchases import violations
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble
from tests.web.api.backend import backend_of
from tests.worker_process import until

__all__ = ["crasher"]

MAKING = "POST /v1/payment_intents"
CONFIRMING = "POST /v1/payment_intents/*/confirm"
FAULTS = ["drop_before", "drop_after", "conflict", "error_before", "error_after", "too_many", "reset"]
# The gateway tries each call three times.
ALL_TRIES = 3
ENDLESS = Limits(day_count=10_000, month_count=10_000, day_cents=90_000_000, month_cents=90_000_000)


@pytest.fixture
def buyer(cast: Cast, stage: Stage) -> AutoBuyer:
    return AutoBuyer.ready(stage, cast.owner, cast.team_id, limits=ENDLESS)


def _once(buyer: AutoBuyer, number: int) -> None:
    """So many purchases were charged and granted, each once."""
    assert buyer.states() == [("granted", None)] * number
    assert (buyer.charges(), buyer.granted()) == (["succeeded"] * number, [CREDITS] * number)
    assert violations() == []


@pytest.mark.parametrize("call", [MAKING, CONFIRMING])
def test_each_fault_of_stripes_charges_once_and_grants_once(buyer: AutoBuyer, call: str) -> None:
    """A call of the three that the gateway makes, or all of them."""
    number = 0
    for fault in FAULTS:
        for times in (1, ALL_TRIES):
            number += 1
            buyer.spend_down_to(100)
            with trouble(buyer.stage, call_fault(fault, call, times)):
                buyer.stage.drain()
                assert struck(buyer.stage) >= 1, fault
            buyer.look_now()
            buyer.look_now()
            _once(buyer, number)


@pytest.mark.parametrize("fault", ["drop_after", "error_after", "error_before"])
def test_a_refusal_whose_answer_is_lost_is_not_tried_again(cast: Cast, stage: Stage, fault: str) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    buyer.spend(200)
    with trouble(stage, call_fault(fault, CONFIRMING, ALL_TRIES)):
        stage.drain()
    for _ in range(3):
        buyer.look_now()
    assert buyer.charges() == ["failed"]
    assert buyer.states() == [("failed", "generic_decline")]


@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
def test_a_charge_whose_answer_is_lost_for_longer_than_keys_last_is_granted(buyer: AutoBuyer, fault: str) -> None:
    """Nobody looks for two days, and no event comes: the intent itself says that it was paid."""
    buyer.spend(200)
    lost = call_fault("drop_before", "GET /v1/payment_intents/*", None, skip=1)  # the look before it is charged
    with trouble(buyer.stage, call_fault(fault, CONFIRMING, None), lost):
        buyer.stage.drain()
    assert buyer.states() == [("unknown", None)]
    assert (buyer.charges(), buyer.granted()) == (["succeeded"], [])
    buyer.stage.new_events()  # lost
    buyer.stage.advance(timedelta(days=2))
    buyer.stage.drain()
    _once(buyer, 1)


@pytest.mark.parametrize("fault", ["drop_after", "error_after", "drop_before", "error_before"])
def test_an_intent_whose_making_is_unknown_for_longer_than_keys_last_charges_nothing(
    buyer: AutoBuyer, fault: str
) -> None:
    """It is found in the customer's list and ended; what is still missing is bought anew, once."""
    buyer.spend(200)
    with trouble(buyer.stage, call_fault(fault, MAKING, None), call_fault("drop_before", "GET *", None)):
        buyer.stage.drain()
    assert buyer.states() == [("unknown", None)]
    buyer.stage.advance(timedelta(days=2))
    buyer.settle()
    buyer.pass_time(timedelta(minutes=1))
    buyer.look_now()
    assert buyer.states() == [("canceled", "too_late"), ("granted", None)]
    assert (buyer.charges(), buyer.granted()) == (["succeeded"], [CREDITS])
    assert [intent["status"] for intent in buyer.at_stripe()] == ["canceled", "succeeded"]
    assert violations() == []


LOOKING = "GET /v1/payment_intents/*"


@pytest.mark.parametrize("look", [0, 1])
def test_the_banks_question_stays_while_stripe_does_not_answer(cast: Cast, stage: Stage, look: int) -> None:
    """After hours of looking in vain one look fails, the first of its calls or the next: its link is still on the page,
    and it is soon looked at again.
    """
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    buyer.settle()
    for _ in range(12):
        buyer.look_now()
    asked = buyer.newest()
    assert asked.confirm_url is not None
    with trouble(stage, call_fault("drop_before", LOOKING, None, skip=look)):
        buyer.look_now()
        assert struck(stage) >= 1
    missed = buyer.newest()
    assert (missed.state, missed.confirm_url) == ("requires_action", asked.confirm_url)
    assert missed.run_at - now() <= LOOK_AGAIN
    buyer.answer_bank("complete")
    stage.new_events()  # lost
    buyer.pass_time(LOOK_AGAIN)
    assert buyer.states() == [("granted", None)]
    assert violations() == []


@pytest.mark.parametrize("state", ["unknown", "requires_action"])
def test_an_intent_that_stripe_does_not_know_any_more_is_left(buyer: AutoBuyer, state: str) -> None:
    """As after the account, or the stand-in, was emptied. What is missing is bought anew."""
    buyer.spend(200)
    url = "'https://hooks.stripe.com/gone'" if state == "requires_action" else "null"
    gone = f"payment_intent_stripe_id = 'pi_gone', first_sent_at = app_now(), state = '{state}', confirm_url = {url}"
    with unit_of_work():
        db.session.execute(text(f"update purchase_intents set {gone}"))  # noqa: S608  all of it is ours
    buyer.settle()
    assert buyer.states() == [("canceled", "gone_at_stripe")]
    assert canceled_words("gone_at_stripe") != canceled_words(None)
    buyer.pass_time(timedelta(minutes=1))
    buyer.look_now()
    assert buyer.states()[1:] == [("granted", None)]
    assert (buyer.charges(), buyer.granted()) == (["succeeded"], [CREDITS])


def test_a_stored_failure_with_the_effect_is_found_in_the_list(buyer: AutoBuyer) -> None:
    """The key brings nothing but the failure; the intent that was made under it is the one that is charged."""
    buyer.spend(200)
    with trouble(buyer.stage, call_fault("error_after", MAKING, 1)):
        buyer.settle()
    buyer.look_now()
    _once(buyer, 1)
    assert len(buyer.at_stripe()) == 1


def test_the_event_may_come_before_the_worker_hears_of_it(buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The charge has succeeded and its event is applied while the worker still waits for the answer."""
    buyer.spend(200)
    confirm = Gateway.confirm_payment_intent

    def slowly(gateway: Gateway, *args: Any) -> Any:
        answer = confirm(gateway, *args)
        with ThreadPoolExecutor(1) as other:
            other.submit(_deliver, buyer).result()
        return answer

    monkeypatch.setattr(Gateway, "confirm_payment_intent", slowly)
    buyer.settle()
    _once(buyer, 1)
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_made"]


def _deliver(buyer: AutoBuyer) -> None:
    with buyer.stage.app.app_context():
        buyer.stage.deliver_all()
        assert buyer.granted() == [CREDITS]


def test_a_worker_that_was_paused_for_too_long_writes_nothing(
    buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease has run out, and another one has done the work meanwhile."""
    buyer.spend(200)
    confirm, calls = Gateway.confirm_payment_intent, []

    def paused(gateway: Gateway, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            with ThreadPoolExecutor(1) as other:
                other.submit(_take_over, buyer).result()
        return confirm(gateway, *args)

    monkeypatch.setattr(Gateway, "confirm_payment_intent", paused)
    buyer.settle()
    assert len(calls) == 2
    _once(buyer, 1)


def test_a_try_that_breaks_after_its_lease_was_lost_stops_nobody(
    buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what broke it nor that it cannot even be put off is anybody else's trouble."""
    buyer.spend(200)
    look, looks = Gateway.payment_intent, []

    def broken(gateway: Gateway, intent_id: str) -> Any:
        looks.append(intent_id)
        if len(looks) == 1:
            with ThreadPoolExecutor(1) as other:
                other.submit(_take_over, buyer).result()
            raise RuntimeError("broken on purpose")
        return look(gateway, intent_id)

    monkeypatch.setattr(Gateway, "payment_intent", broken)
    buyer.settle()
    assert len(looks) > 1
    _once(buyer, 1)


def _take_over(buyer: AutoBuyer) -> None:
    with buyer.stage.app.app_context():
        with unit_of_work():
            db.session.execute(text("update purchase_intents set lease_until = now() - interval '1 second'"))
        assert drain_purchases() == 1
        db.session.remove()


def test_two_workers_at_once_charge_once(buyer: AutoBuyer) -> None:
    buyer.spend(200)

    def work(_number: int) -> int:
        with buyer.stage.app.app_context():
            try:
                return drain_purchases()
            finally:
                db.session.remove()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1
    buyer.settle()
    _once(buyer, 1)


@pytest.mark.parametrize("kind", ["paid", "declined", "asked"])
def test_killed_at_every_point_it_is_charged_once_and_granted_once(
    cast: Cast, stage: Stage, crasher: Crasher, kind: str
) -> None:
    """A worker dies at a point of a purchase and another one goes on; at each point another purchase."""
    card = {"paid": WORKS, "declined": DECLINES, "asked": ASKS}[kind]
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, card, limits=ENDLESS)
    number = 0
    for point in points_of(f"auto-purchase {kind}", every=6):
        number += 1
        buyer.spend_down_to(99)
        buyer.spend(1)
        assert buyer.states()[number - 1 :] == [("pending", None)]
        undisturbed = crasher.run("purchase", kill_at=point)
        until(nothing_is_locked, "the database has noticed")
        buyer.look_now()
        _has_ended(buyer, kind, number)
        if undisturbed is not None:
            break
    assert point >= POINTS_MIN
    assert buyer.charges().count("succeeded") == (0 if kind == "declined" else number)
    if kind == "declined":
        assert buyer.charges() == ["failed"] * number
    assert len(buyer.at_stripe()) >= number
    assert violations() == []


def _has_ended(buyer: AutoBuyer, kind: str, number: int) -> None:
    if kind == "asked":
        assert buyer.newest().state == "requires_action"
        buyer.answer_bank("complete")
        buyer.settle()
    if kind == "declined":
        assert buyer.states() == [("failed", "generic_decline")] * number
        run_in_unit(lambda: purchase_rules.forgive(buyer.team_id, "Go on"))
        db.session.remove()
    else:
        assert buyer.granted() == [CREDITS] * number
        assert buyer.newest().state == "granted"


def test_killed_at_every_point_of_the_spend_there_is_one_purchase(
    app: Flask, buyer: AutoBuyer, crasher: Crasher
) -> None:
    """The use and the purchase it makes necessary stand there together, or neither."""
    backend = backend_of(app, buyer.team_id, buyer.person)
    headers = {
        "Authorization": f"Bearer {backend.secret}",
        "Idempotency-Key": "one",
        "Content-Type": "application/json",
    }
    job = {"path": "/api/v1/usage", "data": json.dumps({"meter": "send_email", "quantity": 150}), "headers": headers}
    kills = 0
    while (answer := crasher.run("request", kill_at=kills, **job)) is None:
        kills += 1
        until(nothing_is_locked, "the database has noticed")
        assert (buyer.balance(), len(buyer.intents())) in ((600, 0), (450, 1))
    assert answer["done"] == 200
    assert kills >= 10
    assert len(buyer.intents()) == 1
    buyer.settle()
    _once(buyer, 1)
