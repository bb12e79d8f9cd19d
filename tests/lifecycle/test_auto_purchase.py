"""Credits that buy themselves: once for all who spend, one try for each arming, never past what was agreed to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from portal.accounts.models import AuditEntry, Membership
from portal.billing.entitlement_overrides import override
from portal.billing.models import CardDecline, Payment, PaymentMethod
from portal.catalog.queries import bundle_prices
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.times import month_end
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import auto_purchase, ledger, purchase_rules
from portal.credits import jobs as credits_jobs
from portal.credits.purchase_models import AutoPurchaseConsent
from portal.credits.purchase_rules import RuleRefused
from portal.credits.purchase_size import Limits
from portal.credits.purchase_stop import stop_after_undoing
from portal.credits.purchase_terms import TEXT_VERSION
from portal.credits.purchase_words import canceled_words
from portal.usage.metered import UseRefused, metering
from tests.auto_buyers import ASKS, ASKS_THEN_DECLINES, CENTS, CREDITS, DECLINES, WIDE, WORKS, AutoBuyer
from tests.cast import Cast
from tests.plan_changes import now
from tests.purchases import violations
from tests.stage import Stage
from tests.web.api.backend import backend_of


def test_crossing_the_threshold_buys_one_bundle_and_says_so(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    assert buyer.spend(100)
    assert buyer.states() == [], "500 are left, which is not fewer than 500"
    assert buyer.spend(1)
    assert buyer.states() == [("pending", None)]
    buyer.settle()
    assert buyer.states() == [("granted", None)]
    assert buyer.granted() == [CREDITS]
    assert buyer.balance() == 499 + CREDITS
    assert buyer.charges() == ["succeeded"]
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_made"]
    (payment,) = buyer._all(select(Payment).where(Payment.type == "top_up"))
    assert (payment.amount, payment.description, payment.status) == (
        CENTS,
        "Auto-purchase of 1,000 credits",
        "succeeded",
    )
    assert violations() == []


def test_the_next_crossing_buys_again(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    for number in range(1, 4):
        buyer.spend_down_to(100)
        buyer.settle()
        assert (len(buyer.granted()), buyer.balance()) == (number, 100 + CREDITS)
    assert buyer.charges() == ["succeeded"] * 3
    assert violations() == []


def test_a_storm_of_100_spends_makes_one_purchase(app: Flask, cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, left=505)

    def spend(_number: int) -> bool:
        with app.app_context():
            return buyer.spend(5)

    with ThreadPoolExecutor(16) as pool:
        paid = list(pool.map(spend, range(100)))
    assert all(paid)
    assert len(buyer.intents()) == 1
    buyer.settle()
    assert buyer.states() == [("granted", None)]
    assert (buyer.charges(), buyer.granted()) == (["succeeded"], [CREDITS])
    assert buyer.balance() == 5 + CREDITS
    assert violations() == []


def test_a_spend_that_is_refused_buys_what_it_lacks(cast: Cast, stage: Stage) -> None:
    """600 are left, so that nothing was crossed; 3,200 are asked for: three bundles in one charge, and then it is paid."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    assert not buyer.spend(3_200)
    assert not buyer.spend(3_200), "and the second refusal buys nothing more"
    buyer.settle()
    assert [(row.quantity, row.credits, row.amount) for row in buyer.intents()] == [(3, 3 * CREDITS, 3 * CENTS)]
    assert buyer.charges() == ["succeeded"]
    assert buyer.spend(3_200)
    assert violations() == []


def test_a_refused_use_by_the_api_buys_too(app: Flask, cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    backend = backend_of(app, cast.team_id, cast.owner)
    refused = backend.use("generate_campaign", 200, key="big")
    assert (refused.status_code, refused.get_json()["error"]["auto_purchase"]) == (402, "under_way")
    assert [row.began_by for row in buyer.intents()] == ["refused"]
    buyer.settle()
    assert backend.use("generate_campaign", 200, key="big").status_code == 200
    assert backend.use("generate_campaign", 60, key="next").status_code == 200
    assert [row.began_by for row in buyer.intents()] == ["refused", "threshold"]


def test_a_use_that_is_refused_several_times_at_once_is_wanted_once(app: Flask, cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    backend = backend_of(app, cast.team_id, cast.owner)
    again = {"idempotency_key": "again", "meter": "send_email", "quantity": 1_100}
    other = {"idempotency_key": "other", "meter": "send_email", "quantity": 700}
    answer = backend.call("POST", "/usage/batch", json={"uses": [again, again, again, other]})
    assert answer.get_json()["refused"] == 4
    # 1,800 are wanted and 600 are there.
    assert buyer.newest().quantity == 2


def test_a_route_of_the_same_process_that_is_refused_buys_too(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    with pytest.raises(UseRefused), metering("send_email", cast.team_id, quantity=700):
        pytest.fail("the action began")
    db.session.remove()
    assert [(row.began_by, row.quantity) for row in buyer.intents()] == [("refused", 1)]
    buyer.settle()
    with metering("send_email", cast.team_id, quantity=700):
        pass
    db.session.remove()
    assert buyer.balance() == 900


def test_what_is_missing_only_after_the_action_is_bought_too(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    with metering("send_email", cast.team_id, quantity=1) as action:
        action.quantity = 700
    db.session.remove()
    assert [row.began_by for row in buyer.intents()] == ["refused"]


def test_the_plans_credits_alone_can_be_counted(cast: Cast, stage: Stage) -> None:
    """Gifts and other bundles are a reserve; what it has bought itself counts, so that it does not buy for ever."""
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    with unit_of_work():
        ledger.grant(cast.team_id, kind="gift", amount=5_000, cause_key="gift:1", source="A gift")
    buyer.turn_on(counts="subscription")
    buyer.spend_down_to(5_400)
    assert buyer.states() == [("pending", None)]
    buyer.settle()
    assert buyer.balance() == 5_400 + CREDITS
    buyer.spend(100)
    buyer.pass_time(timedelta(minutes=5))
    assert len(buyer.intents()) == 1


# Banks


def test_a_declining_card_is_tried_once_for_each_arming_in_30_days(cast: Cast, stage: Stage) -> None:
    """Spends go on and are refused all the time; only a person, or another card, brings about another try."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    for day in range(30):
        buyer.spend(150 if day < 2 else 1_000_000)
        buyer.settle()
        if day == 10:
            buyer.arm_again()
        stage.advance(timedelta(hours=16))
        buyer.spend(1_000_000)
        buyer.settle()
        stage.advance(timedelta(hours=8))
        assert len(buyer.charges()) == (1 if day < 10 else 2), day
    assert buyer.charges() == ["failed", "failed"]
    assert buyer.states() == [("failed", "generic_decline")] * 2
    assert [row.arming for row in buyer.intents()] == [1, 2]
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_stopped", "auto_purchase_stopped"]
    rule = buyer.rule()
    assert (rule.state, rule.reason) == ("stopped", "generic_decline")
    assert buyer.granted() == []
    assert db.session.query(CardDecline).count() == 2
    db.session.remove()
    assert violations() == []


def test_another_card_goes_on_by_itself_and_the_same_one_does_not(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    buyer.spend(200)
    buyer.settle()
    assert buyer.rule().state == "stopped"
    buyer.switch_card(DECLINES)  # another payment method, but the same card
    buyer.pass_time(timedelta(hours=2))
    assert (buyer.rule().state, len(buyer.charges())) == ("stopped", 1)
    buyer.switch_card(WORKS)
    buyer.pass_time(timedelta(minutes=1))
    assert buyer.rule().state == "armed"
    buyer.look_now()
    assert buyer.charges() == ["failed", "succeeded"]
    assert (buyer.granted(), buyer.balance()) == ([CREDITS], 400 + CREDITS)


def test_another_card_is_not_tried_within_an_hour_of_a_refusal(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    buyer.spend(200)
    buyer.settle()
    buyer.switch_card(WORKS)
    buyer.pass_time(timedelta(minutes=1))
    assert buyer.states() == [("failed", "generic_decline"), ("pending", None)]
    buyer.pass_time(timedelta(minutes=30))
    assert buyer.charges() == ["failed"]
    buyer.pass_time(timedelta(minutes=31))
    assert buyer.charges() == ["failed", "succeeded"]


def test_a_person_need_not_wait_for_that_hour(cast: Cast, stage: Stage) -> None:
    """Whether the worker has looked at the new card by then or not: mostly it has."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    buyer.spend(200)
    buyer.settle()
    buyer.switch_card(WORKS)
    buyer.pass_time(timedelta(minutes=1))
    assert buyer.states() == [("failed", "generic_decline"), ("pending", None)]
    buyer.arm_again()
    buyer.settle()
    assert buyer.charges() == ["failed", "succeeded"]
    assert (buyer.granted(), buyer.balance()) == ([CREDITS], 400 + CREDITS)
    with pytest.raises(RuleRefused, match="off"):
        buyer.arm_again()
    assert violations() == []


def test_whoever_is_refused_five_times_a_day_waits(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES, left=400)
    for number in range(5):
        buyer.pass_time(timedelta(hours=2))
        assert len(buyer.charges()) == number + 1
        if number < 4:
            buyer.arm_again()
    with pytest.raises(RuleRefused, match="too_many"):
        buyer.arm_again()
    buyer.pass_time(timedelta(days=1))
    buyer.arm_again()
    assert buyer.rule().state == "armed"


def test_a_bank_that_asks_is_answered_on_its_page(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    buyer.settle()
    assert buyer.states() == [("requires_action", None)]
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_confirm"]
    assert not buyer.spend(10_000), "nothing more is begun meanwhile"
    assert len(buyer.intents()) == 1
    buyer.answer_bank("complete")
    buyer.settle()
    assert buyer.states() == [("granted", None)]
    assert (buyer.granted(), buyer.charges().count("succeeded")) == ([CREDITS], 1)
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_confirm", "auto_purchase_made"]
    assert violations() == []


@pytest.mark.parametrize("card", [ASKS, ASKS_THEN_DECLINES])
def test_a_bank_that_is_not_convinced_stops_it(cast: Cast, stage: Stage, card: str) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, card)
    buyer.spend(200)
    buyer.settle()
    buyer.answer_bank("fail" if card == ASKS else "complete")
    buyer.settle()
    code = "not_confirmed" if card == ASKS else "generic_decline"
    assert buyer.states() == [("failed", code)]
    assert (buyer.rule().state, buyer.granted()) == ("stopped", [])
    tried = buyer.charges()
    buyer.pass_time(timedelta(days=3))
    assert buyer.charges() == tried


def test_a_bank_that_is_not_answered_for_a_day_ends_the_purchase_for_good(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    buyer.settle()
    url = buyer.newest().confirm_url
    buyer.pass_time(timedelta(hours=25))
    assert buyer.states() == [("failed", "not_confirmed")]
    assert [intent["status"] for intent in buyer.at_stripe()] == ["canceled"], f"{url} charges nothing any more"


def test_the_day_in_which_a_bank_is_answered_begins_with_its_question(cast: Cast, stage: Stage) -> None:
    """And not with the purchase, which may have waited for Stripe, or for another card."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    stage.advance(timedelta(hours=20))
    buyer.settle()
    assert buyer.states() == [("requires_action", None)]
    buyer.pass_time(timedelta(hours=23))
    assert buyer.states() == [("requires_action", None)]
    buyer.pass_time(timedelta(hours=2))
    assert buyer.states() == [("failed", "not_confirmed")]


def test_what_waits_for_the_bank_is_given_up_when_it_is_turned_off(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, ASKS)
    buyer.spend(200)
    buyer.settle()
    run_in_unit(lambda: purchase_rules.turn_off(cast.team_id, cast.owner.user_id))
    buyer.settle()
    assert buyer.states() == [("canceled", "turned_off")]
    assert [intent["status"] for intent in buyer.at_stripe()] == ["canceled"]
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_confirm"], "nothing has failed"


# Limits and what was agreed to


def test_the_limits_are_never_passed_and_go_on_with_the_next_day_and_month(cast: Cast, stage: Stage) -> None:
    limits = Limits(day_count=2, month_count=3, day_cents=3 * CENTS, month_cents=100 * CENTS)
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, limits=limits)
    _go_to_noon_of_the(stage, 10)
    for _ in range(4):
        buyer.spend_down_to(100)
        buyer.settle()
    assert [row.quantity for row in buyer.intents()] == [1, 1]
    rule = buyer.rule()
    assert (rule.state, rule.reason) == ("capped", "day")
    assert buyer.mails()[-1] == "auto_purchase_capped"
    buyer.pass_time(timedelta(hours=11))
    assert len(buyer.intents()) == 2
    buyer.pass_time(timedelta(hours=2))
    assert [row.quantity for row in buyer.intents()] == [1, 1, 1], "it is another day"
    buyer.settle()
    buyer.spend_down_to(100)
    buyer.settle()
    rule = buyer.rule()
    assert (rule.state, rule.reason) == ("capped", "month")
    buyer.pass_time(month_end(now()) - now() - timedelta(hours=20))
    buyer.spend_down_to(100)  # the plan may have been renewed
    buyer.settle()
    assert len(buyer.intents()) == 3
    buyer.pass_time(timedelta(hours=21))
    assert len(buyer.intents()) == 4, "it is another month"
    assert buyer.mails().count("auto_purchase_capped") == 2
    assert violations() == []


def test_rules_that_stay_stopped_keep_none_from_going_on(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped ones wait for another card, which may never come; there are as many as a look takes at a time."""
    first, other = sorted((cast.team_id, cast.other_team_id))
    with unit_of_work() as session:
        session.add(Membership(team_id=cast.other_team_id, user_id=cast.owner.user_id, role="owner"))
    db.session.remove()
    abandoned = AutoBuyer.ready(stage, cast.owner, first)
    card = abandoned._all(select(PaymentMethod.fingerprint).where(PaymentMethod.team_id == abandoned.team_id))[0]
    run_in_unit(lambda: purchase_rules.stop(abandoned.team_id, "generic_decline", fingerprint=card))
    stage.advance(timedelta(minutes=1))
    buyer = AutoBuyer.ready(stage, cast.owner, other)
    run_in_unit(lambda: purchase_rules.cap(other, "day", now() + timedelta(hours=1)))
    db.session.remove()
    monkeypatch.setattr(credits_jobs, "BATCH", 1)
    buyer.pass_time(timedelta(hours=1))
    credits_jobs.watch_purchases()
    db.session.remove()
    assert (abandoned.rule().state, buyer.rule().state) == ("stopped", "armed")
    run_in_unit(lambda: purchase_rules.stop(other, "generic_decline", fingerprint="that of another card"))
    db.session.remove()
    credits_jobs.watch_purchases()
    db.session.remove()
    assert (abandoned.rule().state, buyer.rule().state) == ("stopped", "armed"), "it has another card"


def test_a_large_gap_is_closed_as_far_as_the_money_goes(cast: Cast, stage: Stage) -> None:
    limits = Limits(day_count=9, month_count=9, day_cents=5 * CENTS + 1, month_cents=5 * CENTS + 1)
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, limits=limits)
    assert not buyer.spend(50_000)
    buyer.settle()
    assert [(row.quantity, row.state) for row in buyer.intents()] == [(5, "granted")]
    assert not buyer.spend(50_000)
    assert (len(buyer.intents()), buyer.rule().state) == (1, "capped")


def _go_to_noon_of_the(stage: Stage, day: int) -> None:
    moment = now().replace(day=day, hour=12, minute=0, second=0, microsecond=0)
    if moment <= now():
        moment = (moment + timedelta(days=31)).replace(day=day)
    stage.advance(moment - now())
    stage.deliver_all()


def test_what_was_agreed_to_is_kept_for_ever(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
    buyer.turn_on(WIDE)
    buyer.turn_on(Limits(1, 2, CENTS, 2 * CENTS), threshold=200)
    consents = buyer._all(select(AutoPurchaseConsent).order_by(AutoPurchaseConsent.id))
    assert [(one.user_id, one.text_version, one.terms["threshold"]) for one in consents] == [
        (cast.owner.user_id, TEXT_VERSION, 500),
        (cast.owner.user_id, TEXT_VERSION, 200),
    ]
    assert "At most once and $18.00 USD a day, and 2 times and $36.00 USD a calendar month (UTC)." in consents[1].words
    assert "I allow" in consents[1].words
    assert buyer.rule().consent_id == consents[1].id
    for change in ("update auto_purchase_consents set words = 'more'", "delete from auto_purchase_consents"):
        with pytest.raises(DBAPIError):
            db.session.execute(text(change))
        db.session.rollback()
    actions = buyer._all(select(AuditEntry.action).where(AuditEntry.action.like("auto%")).order_by(AuditEntry.id))
    assert actions == ["auto_purchase.turned_on", "auto_purchase.changed"]


def test_what_is_charged_is_frozen_and_one_is_open(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, left=400)
    buyer.pass_time(timedelta(minutes=1))
    row = buyer.newest()
    for change in (
        "amount = amount + 1",
        "credits = credits + 1",
        "params = '{}'",
        "state = 'pending', finished_at = null",
    ):
        with pytest.raises(IntegrityError):
            db.session.execute(text(f"update purchase_intents set {change} where id = :id"), {"id": row.id})  # noqa: S608  all of it is ours
        db.session.rollback()


def test_who_is_not_entitled_or_paused_or_off_buys_nothing(cast: Cast, stage: Stage) -> None:
    """Also what was begun before: it is not sent any more, and the next spend begins it anew once that is over."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    buyer.spend(200)
    run_in_unit(lambda: purchase_rules.pause(cast.team_id, "We look into it"))
    buyer.settle()
    assert buyer.states() == [("canceled", "paused")]
    buyer.pass_time(timedelta(minutes=2))
    assert len(buyer.intents()) == 1
    run_in_unit(lambda: purchase_rules.resume(cast.team_id))
    buyer.spend(1)
    run_in_unit(lambda: purchase_rules.turn_off(cast.team_id, cast.owner.user_id))
    buyer.settle()
    assert buyer.states()[-1] == ("canceled", "turned_off")
    buyer.turn_on()
    with unit_of_work():
        override(cast.team_id, "auto_purchase", enabled=False, limit=None, ends_at=None, reason="Abuse")
    buyer.spend(1)
    assert (buyer.rule().state, buyer.rule().reason, len(buyer.intents())) == ("stopped", "not_allowed", 2)
    with pytest.raises(RuleRefused, match="not_allowed"):
        buyer.arm_again()
    assert buyer.charges() == []


def test_without_a_saved_card_it_stops_and_goes_on_with_one(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    with unit_of_work():
        db.session.execute(text("update payment_methods set detached = true"))
    buyer.spend(200)
    assert (buyer.rule().state, buyer.rule().reason) == ("stopped", "no_card")
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_stopped"]
    buyer.switch_card("pm_card_mastercard")
    buyer.pass_time(timedelta(minutes=1))
    buyer.look_now()
    assert (buyer.rule().state, buyer.charges()) == ("armed", ["succeeded"])


def test_another_price_is_not_what_was_agreed_to(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle is still sold, but the price that was agreed to is not among those that are."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    dearer = [replace(one, price_id=new_id("price")) for one in bundle_prices()]
    monkeypatch.setattr(purchase_rules, "bundles_for", lambda _team_id: dearer)
    buyer.spend(200)
    assert (buyer.rule().state, buyer.rule().reason, buyer.intents()) == ("stopped", "price_changed", [])
    monkeypatch.undo()
    buyer.arm_again()
    assert buyer.rule().state == "armed"


def test_a_card_that_is_gone_at_stripe_stops_it(cast: Cast, stage: Stage) -> None:
    """Taken away between the spend and the charge."""
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    buyer.spend(200)
    stage.stripe("POST", f"/v1/payment_methods/{buyer.newest().params['payment_method']}/detach")
    buyer.settle()
    assert buyer.states() == [("failed", "refused_by_stripe")]
    assert (buyer.rule().state, buyer.charges()) == ("stopped", [])


def test_credits_that_expire_are_bought_without_a_spend(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, left=100)
    buyer.settle()
    assert buyer.balance() == 100 + CREDITS
    run_in_unit(lambda: ledger.reverse(cast.team_id, f"auto:{buyer.newest().id}", 900, "given_back:test"))
    buyer.pass_time(timedelta(minutes=1))
    buyer.settle()
    assert [row.state for row in buyer.intents()] == ["granted", "granted"]


def test_a_refund_takes_its_credits_back_and_does_not_buy_them_again(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, left=400)
    buyer.settle()
    intent = buyer.newest().payment_intent_stripe_id
    stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=CENTS // 2)
    stage.deliver_all()
    assert buyer.balance() == 400 + CREDITS // 2
    assert (buyer.rule().state, buyer.rule().reason) == ("stopped", "refunded")
    stage.stripe("POST", "/v1/refunds", payment_intent=intent)
    stage.deliver_all()
    assert buyer.balance() == 400
    buyer.pass_time(timedelta(hours=1))
    assert len(buyer.intents()) == 1
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_made", "auto_purchase_stopped"]
    buyer.arm_again()
    for event in stage.stripe("GET", "/v1/events", type="charge.refunded", limit=2)["data"]:
        assert stage.deliver(event) == 200
    stage.drain()
    assert buyer.rule().state == "armed", "an event that comes again is no news"
    assert violations() == []


@pytest.mark.parametrize("reason", ["refunded", "disputed"])
def test_what_was_not_sent_when_an_earlier_purchase_is_undone_is_not_charged(
    cast: Cast, stage: Stage, reason: str
) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    buyer.spend(200)  # begins a purchase, which no worker has seen yet
    run_in_unit(lambda: stop_after_undoing(cast.team_id, reason))
    buyer.settle()
    assert buyer.states() == [("canceled", reason)]
    assert (buyer.charges(), buyer.balance()) == ([], 400)
    assert canceled_words(reason) != canceled_words(None)
    buyer.arm_again()
    buyer.settle()
    buyer.pass_time(timedelta(minutes=1))
    assert [state for state, _code in buyer.states()] == ["canceled", "granted"]


def test_the_staff_force_and_forgive(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id, DECLINES)
    made = run_in_unit(lambda: auto_purchase.force(cast.team_id, "Asked for by mail"))
    buyer.settle()
    assert (buyer.newest().id, buyer.states()) == (made, [("failed", "generic_decline")])
    with pytest.raises(RuleRefused):
        run_in_unit(lambda: auto_purchase.force(cast.team_id, "Again"))
    run_in_unit(lambda: purchase_rules.forgive(cast.team_id, "The bank has lifted its block"))
    assert buyer.rule().state == "armed"
    run_in_unit(lambda: auto_purchase.force(cast.team_id, "Again"))
    buyer.settle()
    assert buyer.charges() == ["failed", "failed"]


def test_the_staffs_commands(app: Flask, cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)

    def run(*words: str) -> tuple[int, str]:
        db.session.remove()
        done = app.test_cli_runner().invoke(args=["credits", "auto-purchase", *words])
        return done.exit_code, done.output

    assert run("pause", cast.team_id) == (2, run("pause", cast.team_id)[1]), "a reason is asked for"
    assert run("pause", cast.team_id, "--reason", "Looked into") == (0, "Done.\n")
    assert "paused by the staff: Looked into" in run("show", cast.team_id)[1]
    assert run("force", cast.team_id, "--reason", "Asked for")[0] == 1
    assert run("resume", cast.team_id)[0] == 0
    assert run("forgive", cast.team_id, "--reason", "Why not")[0] == 1, "it was not stopped"
    status, said = run("force", cast.team_id, "--reason", "Asked for")
    assert (status, said) == (0, f"Begun: {buyer.newest().id}.\n")
    buyer.settle()
    assert "this month 1 of 500 purchases, $18.00 USD of $500,000.00 USD" in run("show", cast.team_id)[1]
    assert run("show", cast.other_team_id) == (0, "never turned on\n")
    assert run("show", "team_none")[0] == 1
    trail = buyer._all(select(AuditEntry).where(AuditEntry.action.like("auto%")).order_by(AuditEntry.id))
    assert [(entry.action, entry.detail.get("reason")) for entry in trail][1:4] == [
        ("auto_purchase.paused", "Looked into"),
        ("auto_purchase.resumed", None),
        ("auto_purchase.forced", "Asked for"),
    ]
    run_in_unit(lambda: purchase_rules.stop(cast.team_id, "refunded"))
    run_in_unit(lambda: purchase_rules.turn_off(cast.team_id, cast.owner.user_id))
    status, said = run("forgive", cast.team_id, "--reason", "Why not")
    assert (status, buyer.rule().enabled) == (1, False), "the team has turned it off"
    assert "it is not on" in said
