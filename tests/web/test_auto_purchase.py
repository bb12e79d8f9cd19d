"""The page of auto-purchase: what may be chosen, who may choose it, and what each state says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from portal.accounts.models import AuditEntry
from portal.billing.entitlement_overrides import override
from portal.catalog.models import Bundle
from portal.core.database import db
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import purchase_rules
from portal.credits.purchase_models import AutoPurchaseConsent
from tests import switches
from tests.auto_buyers import ASKS, DECLINES, WORKS, AutoBuyer
from tests.cast import Cast, Person
from tests.stage import Stage

GOOD = {
    "threshold": "500",
    "counts": "total",
    "bundle": "credits_1000",
    "day_count": "2",
    "day_money": "36.00",
    "month_count": "5",
    "month_money": "1,090",
    "agreed": "y",
}


@pytest.fixture
def buyer(cast: Cast, stage: Stage) -> AutoBuyer:
    return AutoBuyer.subscribed(stage, cast.owner, cast.team_id)


def page(buyer: AutoBuyer, person: Person | None = None) -> str:
    answer = (person or buyer.person).client.get(f"/teams/{buyer.team_id}/credits/auto-purchase")
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def offered(shown: str, bundle: str = "credits_1000") -> str:
    """What the page sends for a bundle."""
    found = re.search(rf'<option[^>]* value="({bundle}[^"]*)"', shown)
    return found.group(1) if found else bundle


def send(buyer: AutoBuyer, person: Person | None = None, path: str = "", **fields: Any) -> tuple[int, str]:
    data = {} if path else GOOD | {"bundle": offered(page(buyer))} | fields
    address = f"/teams/{buyer.team_id}/credits/auto-purchase{path}"
    answer = (person or buyer.person).client.post(address, data=data)
    db.session.remove()
    return answer.status_code, answer.get_data(as_text=True)


def test_what_is_chosen_is_agreed_to_and_shown(buyer: AutoBuyer) -> None:
    assert "Turn on auto-purchase" in page(buyer)
    assert send(buyer)[0] == 303
    rule = buyer.rule()
    assert (rule.threshold, rule.counts, rule.day_count_max, rule.month_count_max) == (500, "total", 2, 5)
    assert (rule.day_cents_max, rule.month_cents_max) == (3_600, 109_000)
    (consent,) = buyer._all(select(AutoPurchaseConsent))
    shown = page(buyer)
    assert "Auto-purchase is on." in shown
    for words in consent.words.split("\n"):
        assert words in shown
    assert "$0.00" in shown
    assert "of 5 purchases" in shown
    assert "Visa ending in" in shown


def test_what_cannot_be_agreed_to_is_told_at_its_field(buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
    switches.without_limits(monkeypatch)
    wrong: dict[str, dict[str, Any]] = {
        "Tick this to turn auto-purchase on.": {"agreed": ""},
        "Enter a whole number, 1 or more.": {"threshold": "many"},
        "This is not sold any more as it was shown.": {"bundle": "credits_7"},
        "One bundle is $18.00 USD: less than that would never buy any.": {"day_money": "17.99"},
        "Enter an amount such as": {"day_money": "36.001"},
        "A month cannot have less than a day.": {"month_money": "20"},
        "A month cannot have fewer than a day.": {"month_count": "1"},
        "At most $999,999.99 USD.": {"month_money": "1,000,000"},
        "Enter a whole number from 1 to 1,000.": {"day_count": "-3"},
    }
    unreadable: list[dict[str, Any]] = [
        {"month_money": amount} for amount in ("1e9", "NaN", "-5", "0", "", "٣٦", "9" * 400)
    ]
    unreadable += [{"threshold": number} for number in ("0", "-1", "1.5", "", "9" * 400)]
    for words, fields in [*wrong.items(), *(("Enter a", fields) for fields in unreadable)]:
        status, shown = send(buyer, **fields)
        assert status == 422, fields
        assert words in shown, fields
    assert buyer._all(select(AutoPurchaseConsent)) == []


def test_what_is_sold_otherwise_since_it_was_shown_is_not_agreed_to(buyer: AutoBuyer) -> None:
    """The page is open while the catalog changes."""
    offer = offered(page(buyer))
    try:
        with unit_of_work() as session:
            session.execute(
                update(Bundle).where(Bundle.key == "credits_1000").values(credits=500, expires_after_months=6)
            )
        status, shown = send(buyer, bundle=offer)
        assert status == 422
        assert "This is not sold any more as it was shown." in shown
        assert "500 credits for $18.00 USD, valid for 6 months" in shown
        assert f'selected value="{offered(shown)}"' in shown
        assert "Tick this to turn auto-purchase on." in shown
        assert buyer._all(select(AutoPurchaseConsent)) == []
        assert send(buyer, bundle=offered(shown))[0] == 303
        (consent,) = buyer._all(select(AutoPurchaseConsent))
        assert "500 credits for $18.00 USD, which stay valid for 6 months" in consent.words
    finally:
        db.session.rollback()
        with unit_of_work() as session:
            session.execute(
                update(Bundle).where(Bundle.key == "credits_1000").values(credits=1_000, expires_after_months=None)
            )


def test_who_has_fewer_already_buys_at_once(buyer: AutoBuyer) -> None:
    buyer.spend_down_to(100)
    assert send(buyer)[0] == 303
    shown = page(buyer)
    assert "the first purchase has begun" in shown
    assert "1,000 credits are being bought for $18.00 USD" in shown
    buyer.settle()
    shown = page(buyer)
    assert "Bought" in shown
    assert "Receipt" in shown
    assert "1 of 5 purchases" in shown


def test_off_means_off(buyer: AutoBuyer) -> None:
    send(buyer)
    assert send(buyer, path="/removal")[0] == 303
    assert "Nothing more is bought by itself." in page(buyer)
    buyer.spend_down_to(100)
    buyer.settle()
    assert buyer.intents() == []
    acts = buyer._all(select(AuditEntry.action).where(AuditEntry.action.like("auto%")).order_by(AuditEntry.id))
    assert acts == ["auto_purchase.turned_on", "auto_purchase.turned_off"]


def test_a_refused_card_stops_it_until_it_is_turned_on_again(buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
    switches.without_limits(monkeypatch)
    send(buyer)
    buyer.switch_card(DECLINES)
    buyer.spend_down_to(100)
    buyer.settle()
    shown = page(buyer)
    assert "Auto-purchase has stopped" in shown
    assert "The bank declined the payment. Nothing was charged." in shown
    assert "Update card" in shown
    assert send(buyer, path="/arming")[0] == 303
    assert "a purchase has begun" in page(buyer)
    for _ in range(4):
        buyer.settle()
        status, shown = send(buyer, path="/arming")
    assert status == 429
    assert "Too many payments were refused lately." in shown
    assert buyer.charges() == ["failed"] * 5
    assert send(buyer)[0] == 429, "and agreeing anew is no way round it"


def test_what_waits_for_a_new_card_says_until_when_and_can_be_hurried(
    buyer: AutoBuyer, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    switches.without_limits(monkeypatch)
    send(buyer)
    buyer.switch_card(DECLINES)
    buyer.spend_down_to(100)
    buyer.settle()
    buyer.switch_card(WORKS)
    buyer.pass_time(timedelta(minutes=1))
    for person, may_hurry in ((buyer.person, True), (cast.member, False)):
        shown = page(buyer, person)
        assert "1,000 credits are bought for $18.00 USD at" in shown
        assert ("Buy now" in shown) is may_hurry
    state = f"/teams/{buyer.team_id}/credits/auto-purchase/state?seen=waits"
    assert buyer.person.client.get(state).status_code == 204
    assert send(buyer, path="/arming")[0] == 303
    assert "Auto-purchase is on again." in page(buyer)
    assert "are being bought for $18.00 USD" in page(buyer)
    buyer.settle()
    assert buyer.charges() == ["failed", "succeeded"]


def test_a_bank_that_asks_is_one_link_away(buyer: AutoBuyer, cast: Cast) -> None:
    send(buyer)
    buyer.switch_card(ASKS)
    buyer.spend_down_to(100)
    buyer.settle()
    shown = page(buyer)
    assert "Your bank wants you to confirm $18.00 USD" in shown
    assert str(buyer.newest().confirm_url) in shown
    assert str(buyer.newest().confirm_url) not in page(buyer, cast.member)
    state = f"/teams/{buyer.team_id}/credits/auto-purchase/state?seen=confirm"
    assert buyer.person.client.get(state).status_code == 204
    buyer.answer_bank("complete")
    buyer.settle()
    assert "The purchase has ended" in buyer.person.client.get(state).get_data(as_text=True)


def test_a_bank_that_asks_is_answered_though_the_plan_is_another_by_now(buyer: AutoBuyer) -> None:
    """The mail about it leads here, and the purchase goes on."""
    send(buyer)
    buyer.switch_card(ASKS)
    buyer.spend_down_to(100)
    buyer.settle()
    with unit_of_work():
        override(buyer.team_id, "auto_purchase", enabled=False, limit=None, ends_at=None, reason="As after a downgrade")
    shown = page(buyer)
    assert "Your bank wants you to confirm $18.00 USD" in shown
    assert str(buyer.newest().confirm_url) in shown
    assert "Auto-purchase comes with larger plans" not in shown
    buyer.answer_bank("fail")
    buyer.settle()
    assert "Auto-purchase comes with larger plans" in page(buyer)


def rows(buyer: AutoBuyer) -> str:
    """The list of automatic purchases, as it is read."""
    return re.sub(r"<[^>]+>|\s+", " ", page(buyer).partition('id="purchases"')[2].partition("</section>")[0])


def test_what_became_of_a_purchase_is_shown(buyer: AutoBuyer) -> None:
    send(buyer)
    buyer.spend_down_to(100)
    buyer.settle()
    assert "Bought" in rows(buyer)
    intent = buyer.newest().payment_intent_stripe_id
    buyer.stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=450)
    buyer.stage.deliver_all()
    assert "Partly refunded" in rows(buyer)
    assert "$4.50 USD of it was refunded." in rows(buyer)
    assert "Auto-purchase has stopped" in page(buyer)
    assert "A payment was refunded. So that the same" in " ".join(page(buyer).split())
    assert "Turn on again" in page(buyer)
    buyer.stage.stripe("POST", "/v1/refunds", payment_intent=intent)
    buyer.stage.deliver_all()
    assert "Refunded" in rows(buyer)
    assert "Bought" not in rows(buyer)


def test_a_purchase_that_the_bank_took_back_is_shown_so(buyer: AutoBuyer) -> None:
    buyer.switch_card("pm_card_createDispute")
    send(buyer)
    buyer.spend_down_to(100)
    buyer.settle()
    buyer.settle()
    assert "Disputed" in rows(buyer)
    assert "A payment was disputed at the bank." in page(buyer)
    dispute = buyer.stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"]
    buyer.stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": "losing_evidence"})
    buyer.stage.stripe("GET", "/v1/events", limit=1)
    buyer.settle()
    assert "Dispute lost" in rows(buyer)
    assert "Bought" not in rows(buyer)


def test_members_see_and_others_choose(buyer: AutoBuyer, cast: Cast) -> None:
    for person in (cast.admin, cast.billing):
        assert send(buyer, person)[0] == 303
    assert send(buyer, cast.member)[0] == 403
    assert send(buyer, cast.member, "/removal")[0] == 403
    assert send(buyer, cast.outsider)[0] == 404
    shown = page(buyer, cast.member)
    assert "Owners, admins and billing contacts can change this." in shown
    assert "Save the settings" not in shown
    assert "Turn off" not in shown


def test_a_plan_without_it_leads_to_one_with_it(cast: Cast) -> None:
    answer = cast.owner.client.get(f"/teams/{cast.team_id}/credits/auto-purchase")
    shown = answer.get_data(as_text=True)
    assert "Auto-purchase comes with larger plans" in shown
    assert f"/pricing?team={cast.team_id}" in shown
    assert "Turn on auto-purchase" not in shown
    assert cast.owner.client.post(answer.request.path, data=GOOD).status_code in (409, 422)


def test_without_a_card_nothing_is_turned_on(buyer: AutoBuyer) -> None:
    with unit_of_work():
        db.session.execute(text("update payment_methods set detached = true"))
    shown = page(buyer)
    assert "There is no saved card" in shown
    assert "Save a card" in shown
    status, shown = send(buyer)
    assert status == 409
    assert "Nothing was changed or charged." in shown
    assert buyer._all(select(AutoPurchaseConsent)) == []


def test_limits_and_pauses_are_told(buyer: AutoBuyer) -> None:
    send(buyer, day_count="1")
    for _ in range(2):
        buyer.spend_down_to(100)
        buyer.settle()
    assert "The limit of the day is reached" in page(buyer)
    run_in_unit(lambda: purchase_rules.pause(buyer.team_id, "We look into it"))
    shown = page(buyer)
    assert "We have paused auto-purchase" in shown
    assert "We look into it" not in shown, "which is for the staff"


def test_it_is_not_offered_where_taxes_are_worked_out_at_checkout(
    app: Flask, buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = app.extensions["catalog"]
    taxed = replace(known, checkout=replace(known.checkout, automatic_tax=True))
    offer = offered(page(buyer))
    monkeypatch.setitem(app.extensions, "catalog", taxed)
    assert "Auto-purchase is not offered" in page(buyer)
    status, shown = send(buyer, bundle=offer)
    assert status == 409
    assert "Auto-purchase is not offered at the moment. Nothing was changed or charged." in shown


@pytest.mark.parametrize("begun", [False, True])
def test_it_does_not_blame_the_plan_when_it_is_not_offered_any_more(
    app: Flask, buyer: AutoBuyer, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    """Before a purchase is begun, or between that and the charge."""
    send(buyer)
    if begun:
        buyer.spend_down_to(100)
    known = app.extensions["catalog"]
    with monkeypatch.context() as taxed:
        checkout = replace(known.checkout, automatic_tax=True)
        taxed.setitem(app.extensions, "catalog", replace(known, checkout=checkout))
        buyer.spend_down_to(100)
        buyer.settle()
        assert buyer.states() == ([("canceled", "not_offered")] if begun else [])
        assert (buyer.rule().state, buyer.rule().reason) == ("stopped", "not_offered")
        if begun:
            assert "Not charged: auto-purchase is not offered at the moment" in page(buyer)
    shown = page(buyer)
    assert "Auto-purchase is not offered at the moment. Nothing was charged." in shown
    assert "Your plan does not include" not in shown
    assert "Turn on again" in shown
    assert send(buyer, path="/arming")[0] == 303


def test_the_credits_page_says_how_it_stands(buyer: AutoBuyer) -> None:
    def card() -> str:
        shown = buyer.person.client.get(f"/teams/{buyer.team_id}/credits").get_data(as_text=True)
        return " ".join(shown.partition('id="auto-title"')[2].partition("</section>")[0].split())

    def overview() -> str:
        shown = buyer.person.client.get(f"/teams/{buyer.team_id}/billing").get_data(as_text=True)
        return " ".join(shown.partition("<dt>Auto-purchase</dt>")[2].partition("</dd>")[0].split())

    assert "It is off until you turn it on" in card()
    assert overview() == ""
    buyer.turn_on()
    assert "within the limits that you set" in card()
    assert "On" in overview()
    with unit_of_work():
        purchase_rules.stop(buyer.team_id, "card_declined")
    assert "It has stopped" in card()
    assert "Stopped" in overview()
