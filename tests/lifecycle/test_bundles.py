"""Buying a bundle: once paid, granted once, whatever Stripe tells of it, how often and in which order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
import requests
from sqlalchemy import func, select, update

from portal.billing.bundle_sale import bundles_allowed
from portal.billing.checkout_mirror import mirror_checkout
from portal.billing.gateway import Gateway, gateway
from portal.billing.models import Checkout, Subscription
from portal.catalog.models import Bundle
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditEntry, CreditGrant
from portal.credits.queries import balance
from tests.cast import Cast
from tests.purchases import states, violations
from tests.stage import Stage

TIMES = 50


@pytest.fixture
def team(cast: Cast, stage: Stage) -> str:
    """A team whose plan has bundles."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    return cast.team_id


def checkout(checkout_id: str) -> Checkout:
    db.session.rollback()
    return db.session.execute(select(Checkout).where(Checkout.id == checkout_id)).scalar_one()


def bundle_grants(team_id: str) -> list[tuple[int, str]]:
    query = select(CreditGrant.amount, CreditGrant.cause_key).where(
        CreditGrant.team_id == team_id, CreditGrant.kind == "bundle"
    )
    return [(row.amount, row.cause_key) for row in db.session.execute(query)]


def page_text(cast: Cast, address: str) -> str:
    answer = cast.owner.client.get(address)
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.get_data(as_text=True)).split())


def test_a_bundle_is_paid_and_its_credits_are_there(cast: Cast, stage: Stage, team: str) -> None:
    before = balance(team).available
    checkout_id = stage.buy_bundle(cast.owner, team, "credits_5000")
    waiting = page_text(cast, f"/teams/{team}/checkout/{checkout_id}")
    assert "Your order of 5,000 credits is on its way" in waiting
    assert balance(team).available == before
    stage.deliver_all()

    row = checkout(checkout_id)
    assert (row.state, row.payment_status, row.amount_total) == ("complete", "paid", 8_000)
    assert bundle_grants(team) == [(5_000, f"bundle:{row.stripe_id}")]
    done = page_text(cast, f"/teams/{team}/checkout/{checkout_id}")
    for words in ("5,000 credits are yours now", "$80.00 USD", f"{before + 5_000:,}"):
        assert words in done
    page = page_text(cast, f"/teams/{team}/credits")
    assert f"{before + 5_000:,} available" in page
    assert "Bundle of 5,000 " in page
    assert violations() == []


def test_what_was_bought_can_be_followed_from_checkout_to_payment_to_grant(cast: Cast, stage: Stage, team: str) -> None:
    row = checkout(stage.buy_bundle(cast.owner, team))
    stage.deliver_all()
    row = checkout(row.id)
    intent = stage.stripe("GET", f"/v1/payment_intents/{row.payment_intent_stripe_id}")
    assert intent["metadata"]["checkout_id"] == row.id
    assert intent["amount"] == row.amount_cents == 1_800
    assert bundle_grants(team) == [(1_000, f"bundle:{row.stripe_id}")]


def test_events_in_every_order_fifty_times_each_grant_once(cast: Cast, stage: Stage, team: str) -> None:
    """Also an event that Stripe would send for a delayed payment, and those about the payment itself."""
    checkout_id = stage.buy_bundle(cast.owner, team)
    told = [
        event for event in stage.new_events() if event["type"].startswith(("checkout.", "payment_intent.", "charge."))
    ]
    done = next(event for event in told if event["type"] == "checkout.session.completed")
    delayed = done | {"type": "checkout.session.async_payment_succeeded"}
    payment = next(event for event in told if event["type"] == "payment_intent.succeeded")
    charge = next(event for event in told if event["type"] == "charge.succeeded")
    for round_, order in enumerate(permutations((done, delayed, payment, charge))):
        for event in order:
            for time in range(TIMES if round_ == 0 else 2):
                again = event | {"id": f"{event['id']}_{event['type']}_{round_}_{time}"}
                assert stage.deliver(again) == 200
        stage.drain()
        assert len(bundle_grants(team)) == 1
    assert balance(team).available == 20_000 + 1_000
    assert checkout(checkout_id).state == "complete"
    assert states() <= {"done", "ignored"}
    assert violations() == []


@pytest.fixture
def in_euros(stage: Stage, team: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages ask for euros, so that they offer a debit; the catalog's own prices are in dollars, and fixed."""
    original = Gateway.create_checkout_session

    def create(gateway: Gateway, params: dict[str, Any], key: str) -> dict[str, Any]:
        known = stage.stripe("GET", f"/v1/prices/{params['line_items'][0]['price']}")
        same = {"product": known["product"], "unit_amount": known["unit_amount"]}
        made = stage.stripe("POST", "/v1/prices", currency="eur", **same)
        return original(gateway, params | {"line_items": [{"price": made["id"], "quantity": 1}]}, key)

    monkeypatch.setattr(Gateway, "create_checkout_session", create)


@dataclass
class Debits:
    """Bundles bought by direct debit: the page is complete at once, the bank answers three minutes later."""

    cast: Cast
    stage: Stage
    team: str

    def buy(self, iban: str) -> str:
        """The checkout's id."""
        form = {"pay_with": "sepa_debit", "iban": iban, "account_holder": "Owner", "email": "owner@example.com"}
        address = self.stage.begin_bundle(self.cast.owner, self.team)
        answer = requests.post(address, data=form, allow_redirects=False, timeout=20)
        assert answer.status_code == 303, answer.text
        return str(re.findall(r"/checkout/(chk_[0-9A-Z]+)", answer.headers["Location"])[0])

    def words(self, checkout_id: str) -> str:
        return page_text(self.cast, f"/teams/{self.team}/checkout/{checkout_id}")

    def pass_three_minutes(self) -> None:
        self.stage.advance(timedelta(minutes=3))


PAYS_LATER, FAILS_LATER = "AT321904300235473204", "AT051904300235473205"


@pytest.fixture
def debits(cast: Cast, stage: Stage, team: str, in_euros: None) -> Debits:
    return Debits(cast, stage, team)


def test_a_payment_under_way_grants_nothing_and_says_so(stage: Stage, team: str, debits: Debits) -> None:
    checkout_id = debits.buy(PAYS_LATER)
    stage.deliver_all()
    assert bundle_grants(team) == []
    words = debits.words(checkout_id)
    assert "Your payment is on its way" in words
    assert "Do not pay again" in words
    assert checkout(checkout_id).payment_status == "unpaid"

    debits.pass_three_minutes()
    told = {event["type"] for event in stage.deliver_all()}
    assert "checkout.session.async_payment_succeeded" in told
    assert [amount for amount, _ in bundle_grants(team)] == [1_000]
    assert "1,000 credits are yours now" in debits.words(checkout_id)
    assert violations() == []


@pytest.mark.parametrize("late", [False, True])
def test_a_payment_that_failed_later_grants_nothing_and_offers_another_try(
    stage: Stage, team: str, debits: Debits, late: bool
) -> None:
    """Also when the word of the failure comes before that of the purchase."""
    checkout_id = debits.buy(FAILS_LATER)
    first = stage.new_events()
    debits.pass_three_minutes()
    for event in stage.new_events() + first if late else first + stage.new_events():
        assert stage.deliver(event) == 200
        stage.drain()
    assert bundle_grants(team) == []
    assert checkout(checkout_id).payment_status == "failed"
    words = debits.words(checkout_id)
    assert "The bank did not pay" in words
    assert "Nothing was charged" in words
    assert states() <= {"done", "ignored"}


def test_an_older_answer_that_lands_last_takes_nothing_back(stage: Stage, team: str, debits: Debits) -> None:
    checkout_id = debits.buy(PAYS_LATER)
    page_id = str(checkout(checkout_id).stripe_id)
    db.session.rollback()
    older = gateway().checkout_session(page_id)
    debits.pass_three_minutes()
    stage.deliver_all()
    with unit_of_work():
        mirror_checkout(older)
    assert checkout(checkout_id).payment_status == "paid"
    assert len(bundle_grants(team)) == 1


def test_a_page_that_expired_says_so_and_the_same_order_opens_a_new_one(cast: Cast, stage: Stage, team: str) -> None:
    token = "ord_01JD0000000000000000000000"
    first = stage.begin_bundle(cast.owner, team, order=token)
    page_id = first.rsplit("/", 1)[1]
    stage.stripe("POST", f"/v1/checkout/sessions/{page_id}/expire")
    stage.deliver_all()
    row = db.session.execute(select(Checkout).where(Checkout.stripe_id == page_id)).scalar_one()
    assert row.state == "expired"
    words = page_text(cast, f"/teams/{team}/checkout/{row.id}")
    assert "This checkout is no longer open" in words
    assert "Try again: 1,000 credits" in words
    assert stage.begin_bundle(cast.owner, team, order=token) != first
    assert bundle_grants(team) == []


def test_a_canceled_order_is_tried_again_on_the_same_page(cast: Cast, stage: Stage, team: str) -> None:
    token = "ord_01JD0000000000000000000001"
    first = stage.begin_bundle(cast.owner, team, order=token)
    row = db.session.execute(select(Checkout).where(Checkout.order_key.startswith(token))).scalar_one()
    answer = cast.owner.client.get(f"/teams/{team}/checkout/{row.id}?canceled=1").get_data(as_text=True)
    fields = dict(re.findall(r'type="hidden" name="(bundle|order)" value="([^"]+)"', answer))
    assert fields == {"bundle": "credits_1000", "order": token}
    assert stage.begin_bundle(cast.owner, team, fields["bundle"], order=fields["order"]) == first


def test_an_order_that_was_paid_is_not_begun_again(cast: Cast, stage: Stage, team: str) -> None:
    token = "ord_01JD0000000000000000000002"
    stage.pay(stage.begin_bundle(cast.owner, team, order=token))
    for deliver in (False, True):
        if deliver:
            stage.deliver_all()
        answer = cast.owner.client.post(f"/teams/{team}/checkout", data={"bundle": "credits_1000", "order": token})
        assert answer.status_code == 409
        assert "This order has been paid already" in answer.get_data(as_text=True)
    assert len(bundle_grants(team)) == 1
    rows = db.session.execute(select(func.count(Checkout.id)).where(Checkout.purpose == "bundle")).scalar_one()
    assert rows == 1


def test_what_was_ordered_is_what_is_granted_though_the_catalog_has_changed(
    cast: Cast, stage: Stage, team: str
) -> None:
    """The page was open while the bundle shrank; what it had promised stands on the checkout."""
    address = stage.begin_bundle(cast.owner, team)
    row = db.session.execute(select(Checkout).where(Checkout.purpose == "bundle")).scalar_one()
    with unit_of_work() as session:
        bundle = session.execute(select(Bundle).where(Bundle.key == "credits_1000")).scalar_one()
        bundle.credits, bundle.expires_after_months = 7, 1
    try:
        stage.pay(address)
        stage.deliver_all()
        assert [amount for amount, _ in bundle_grants(team)] == [1_000]
        ends = db.session.execute(select(CreditGrant.expires_at).where(CreditGrant.kind == "bundle")).scalar_one()
        assert ends is None
        assert (row.credits, row.amount_cents) == (1_000, 1_800)
    finally:
        with unit_of_work() as session:
            bundle = session.execute(select(Bundle).where(Bundle.key == "credits_1000")).scalar_one()
            bundle.credits, bundle.expires_after_months = 1_000, None


def test_a_plan_without_bundles_sells_none(cast: Cast, stage: Stage) -> None:
    """The free plan has none: the page says so, and a form made by hand is refused."""
    assert "Bundles come with larger plans" in page_text(cast, f"/teams/{cast.team_id}/credits")
    answer = cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data={"bundle": "credits_1000"})
    assert answer.status_code == 403
    assert "Nothing was charged" in answer.get_data(as_text=True)
    assert db.session.execute(select(func.count(Checkout.id))).scalar_one() == 0


@pytest.mark.parametrize(("status", "sells"), [("past_due", True), ("unpaid", False), ("paused", False)])
def test_a_plan_that_is_not_in_force_sells_what_the_free_plan_does(
    cast: Cast, stage: Stage, team: str, status: str, sells: bool
) -> None:
    with unit_of_work() as session:
        session.execute(update(Subscription).where(Subscription.team_id == team).values(status=status))
    assert bundles_allowed(team) is sells


def test_a_declined_card_grants_nothing_and_the_page_takes_another(cast: Cast, stage: Stage, team: str) -> None:
    address = stage.begin_bundle(cast.owner, team)
    assert stage.pay(address, "4000000000009995").status_code != 303
    stage.deliver_all()
    assert bundle_grants(team) == []
    assert stage.pay(address).status_code == 303
    stage.deliver_all()
    assert [amount for amount, _ in bundle_grants(team)] == [1_000]
    entries = select(func.count(CreditEntry.id)).where(CreditEntry.cause_key.startswith("bundle:"))
    assert db.session.execute(entries).scalar_one() == 1
