"""What was refunded or is disputed, whatever it was paid for, is not bought again until a person says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.billing.gateway import Gateway
from portal.billing.models import Payment
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import ledger, purchase_rules
from portal.credits.purchase_words import stop_words
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from tests.auto_buyers import ASKS, CREDITS, DECLINES, WORKS, AutoBuyer
from tests.cast import Cast
from tests.plan_changes import now
from tests.purchases import violations
from tests.stage import VISA, Stage

FRAUDULENT, DISPUTED = "4000000000000259", "pm_card_createDispute"
TWO_HOURS, A_MINUTE = timedelta(hours=2), timedelta(minutes=1)
PLAN_CREDITS = 20_000


def payment_for(buyer: AutoBuyer, description: str) -> str:
    """The intent of the newest thing paid with this in its description."""
    query = select(Payment.stripe_id).where(Payment.team_id == buyer.team_id, Payment.amount > 0)
    named = query.where(Payment.status == "succeeded", Payment.description.contains(description)).order_by(
        Payment.occurred_at.desc()
    )
    found: str = buyer._all(named)[0]
    return found


def payment_of(buyer: AutoBuyer, cents: int) -> str:
    query = select(Payment.stripe_id).where(Payment.team_id == buyer.team_id, Payment.amount == cents)
    found = str(db.session.execute(query).scalar_one())
    db.session.remove()
    return found


def refund(buyer: AutoBuyer, intent: str, **amount: int) -> None:
    buyer.stage.stripe("POST", "/v1/refunds", payment_intent=intent, **amount)
    buyer.stage.deliver_all()


def without_the_bank(stage: Stage, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[dict[str, Any]]:
    """Let `act` pay something before the bank disputes it; returns what the bank has to say."""
    with monkeypatch.context() as before_the_bank_speaks:
        before_the_bank_speaks.setattr(Gateway, "disputes_of", lambda _self, _intent: [])
        act()
        stage.drain()
        news = stage.new_events()
        of_bank = [event for event in news if event["type"].startswith("charge.dispute.")]
        for event in news:
            if event not in of_bank:
                assert stage.deliver(event) == 200
        stage.drain()
        stage.stripe("GET", "/v1/events", limit=1)  # the bank speaks a moment after the payment
        of_bank += [event for event in stage.new_events() if event["type"].startswith("charge.dispute.")]
    assert of_bank
    return of_bank


def tell(stage: Stage, events: list[dict[str, Any]]) -> None:
    for event in events:
        assert stage.deliver(event | {"id": new_id("evt")}) == 200
    stage.drain()


def lose(stage: Stage) -> None:
    """The bank decides the newest dispute for the card's holder."""
    dispute = stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"]
    stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": "losing_evidence"})
    stage.stripe("GET", "/v1/events", limit=1)
    stage.deliver_all()


def stopped(buyer: AutoBuyer) -> tuple[str, str | None, str | None]:
    rule = buyer.rule()
    return rule.state, rule.reason, rule.stopped_fingerprint


def stop_mails(buyer: AutoBuyer) -> list[str]:
    query = select(OutboxItem.payload).order_by(OutboxItem.id)
    return [
        mail["text"]
        for mail in buyer._all(query)
        if mail["to"] == buyer.person.email and mail["message"] == "auto_purchase_stopped"
    ]


@pytest.mark.parametrize("bought", ["Bundle", "Business"])
def test_a_refund_of_what_was_bought_by_hand_is_not_made_up_for_by_the_card(
    cast: Cast, stage: Stage, bought: str
) -> None:
    """Spent by then, so that it is owed: the gap would be the threshold and the debt. A person may close it."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    stage.buy_bundle(cast.owner, cast.team_id, "credits_5000")
    stage.deliver_all()
    buyer.turn_on()
    buyer.spend_down_to(600)
    refund(buyer, payment_for(buyer, bought))
    back = 5_000 if bought == "Bundle" else PLAN_CREDITS
    assert buyer.balance() == 600 - back
    assert stopped(buyer) == ("stopped", "refunded", None)
    assert not buyer.spend(1)
    buyer.pass_time(A_MINUTE)
    assert (buyer.intents(), buyer.charges()) == ([], [])
    (mail,) = stop_mails(buyer)
    for words in stop_words("refunded"):
        assert words in mail
    assert "that includes what is owed" in mail
    assert violations() == []

    buyer.arm_again()
    buyer.pass_time(A_MINUTE)
    assert [(row.state, row.credits) for row in buyer.intents()] == [("granted", back)]
    for event in stage.stripe("GET", "/v1/events", type="charge.refunded", limit=1)["data"]:
        tell(stage, [event])
    assert buyer.rule().state == "armed", "what is told again is no news"


def test_a_refund_of_what_bought_no_credits_stops_it_once(cast: Cast, stage: Stage) -> None:
    """Something that was billed by hand: nothing can be taken back, and still a person has to say so."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    customer = buyer.customer()
    stage.stripe("POST", "/v1/invoiceitems", customer=customer, amount=2_500, currency="usd", description="Training")
    made = stage.stripe("POST", "/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
    stage.stripe("POST", f"/v1/invoices/{made['id']}/finalize")
    stage.stripe("POST", f"/v1/invoices/{made['id']}/pay", payment_method=buyer.switch_card(WORKS))
    stage.deliver_all()
    buyer.turn_on()
    buyer.spend_down_to(600)
    refund(buyer, payment_of(buyer, 2_500))
    assert (buyer.balance(), stopped(buyer)) == (600, ("stopped", "refunded", None))
    (mail,) = stop_mails(buyer)
    assert "taken back" not in mail
    assert not buyer.intents()

    buyer.arm_again()
    for event in stage.stripe("GET", "/v1/events", type="charge.refunded", limit=1)["data"]:
        tell(stage, [event])
    assert buyer.rule().state == "armed", "what is told again is no news"


@pytest.mark.parametrize("left", [0, 600])
def test_a_dispute_of_what_was_bought_by_hand_stops_it_whatever_is_left(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """Of 5,000 that were bought; where none is left nothing can be frozen."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    buy = partial(stage.buy_bundle, cast.owner, cast.team_id, "credits_5000", FRAUDULENT)
    of_bank = without_the_bank(stage, monkeypatch, buy)
    buyer.spend_down_to(left)
    with unit_of_work():
        ledger.grant(cast.team_id, kind="gift", amount=600 - left or 1, cause_key="gift:1", source="A gift")
    buyer.turn_on()
    tell(stage, of_bank)
    assert balance(cast.team_id).frozen == left
    assert stopped(buyer) == ("stopped", "disputed", None)
    buyer.spend(300)
    buyer.pass_time(A_MINUTE)
    assert buyer.intents() == []
    assert len(stop_mails(buyer)) == 1
    assert violations() == []


def test_a_dispute_of_a_purchase_that_is_spent_stops_it_and_so_does_its_loss(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card may be stolen: it is not charged until somebody is sure, and not for what the lost dispute took either."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id, DISPUTED)
    buyer.turn_on()
    of_bank = without_the_bank(stage, monkeypatch, lambda: buyer.spend_down_to(100))
    assert buyer.states() == [("granted", None)]
    run_in_unit(lambda: purchase_rules.pause(cast.team_id, "While all is spent"))
    buyer.spend_down_to(0)
    with unit_of_work():
        ledger.grant(cast.team_id, kind="gift", amount=600, cause_key="gift:1", source="A gift")
    run_in_unit(lambda: purchase_rules.resume(cast.team_id))
    assert buyer.rule().state == "armed"

    tell(stage, of_bank)
    assert (balance(cast.team_id).frozen, stopped(buyer)) == (0, ("stopped", "disputed", None))
    buyer.spend(300)
    buyer.pass_time(A_MINUTE)
    assert len(buyer.intents()) == 1
    assert "A payment was disputed at the bank." in stop_mails(buyer)[0]

    with unit_of_work():
        ledger.grant(cast.team_id, kind="gift", amount=600, cause_key="gift:2", source="Another gift")
    buyer.arm_again()
    tell(stage, of_bank)
    assert buyer.rule().state == "armed", "what is told again is no news"
    lose(stage)
    assert (buyer.balance(), stopped(buyer)) == (900 - CREDITS, ("stopped", "disputed", None))
    buyer.pass_time(A_MINUTE)
    assert len(buyer.intents()) == 1
    assert violations() == []


@pytest.mark.parametrize("why", ["generic_decline", "no_card"])
def test_another_card_does_not_go_on_after_an_older_payment_was_undone(cast: Cast, stage: Stage, why: str) -> None:
    """It was stopped for its card when that happened."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, left=100)
    buyer.settle()
    assert buyer.states() == [("granted", None)]
    if why == "no_card":
        with unit_of_work():
            db.session.execute(text("update payment_methods set detached = true"))
    else:
        buyer.switch_card(DECLINES)
    buyer.spend_down_to(100)
    buyer.settle()
    assert stopped(buyer)[:2] == ("stopped", why)
    refund(buyer, payment_for(buyer, "Auto-purchase"))
    assert stopped(buyer) == ("stopped", "refunded", None)
    assert len(stop_mails(buyer)) == 2, "the first one said that another card is enough"
    tried = buyer.charges()
    buyer.switch_card("pm_card_mastercard")
    buyer.pass_time(TWO_HOURS)
    buyer.look_now()
    assert (buyer.rule().state, buyer.charges()) == ("stopped", tried)
    buyer.arm_again()
    buyer.pass_time(A_MINUTE)
    assert buyer.charges() == [*tried, "succeeded"]


def test_a_purchase_that_fails_meanwhile_does_not_let_another_card_go_on(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    buyer.settle()
    assert buyer.states() == [("requires_action", None)]
    refund(buyer, payment_for(buyer, "Business"))
    assert stopped(buyer) == ("stopped", "refunded", None)
    buyer.answer_bank("fail")
    buyer.settle()
    assert buyer.states() == [("failed", "not_confirmed")]
    assert stopped(buyer) == ("stopped", "refunded", None)
    told = stop_mails(buyer)[-1]
    assert "The bank wanted the payment to be confirmed" in told
    assert "another card" not in told
    for words in stop_words("refunded"):
        assert words in told
    buyer.switch_card(WORKS)
    buyer.pass_time(TWO_HOURS)
    assert (buyer.rule().state, len(buyer.intents())) == ("stopped", 1)


def test_a_limit_that_is_over_does_not_go_on_after_a_refund(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    run_in_unit(lambda: purchase_rules.cap(cast.team_id, "day", now() + A_MINUTE))
    refund(buyer, payment_for(buyer, "Business"), amount=100)
    buyer.pass_time(TWO_HOURS)
    assert (stopped(buyer), buyer.intents()) == (("stopped", "refunded", None), [])


def test_an_inquiry_or_a_rule_that_is_off_stops_nothing(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    stage.buy_bundle(cast.owner, cast.team_id, "credits_1000", "4000000000001976")
    stage.deliver_all()
    stage.deliver_all()
    assert buyer.rule().state == "armed"
    run_in_unit(lambda: purchase_rules.turn_off(cast.team_id, cast.owner.user_id))
    stage.buy_bundle(cast.owner, cast.team_id, "credits_1000", VISA)
    stage.deliver_all()
    refund(buyer, payment_for(buyer, "Bundle"))
    assert (buyer.rule().state, stop_mails(buyer)) == ("armed", [])
