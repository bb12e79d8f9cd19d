"""A card changed in Stripe's portal pays the next invoice, though a subscription's own default goes before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import select, text, update

from portal.accounts.models import Team
from portal.billing.billing_details import send_email
from portal.billing.card_change import let_new_card_pay
from portal.billing.customers import fetch_customer
from portal.billing.gateway import gateway
from portal.billing.mirror import StaleFetch
from portal.billing.models import Customer, Payment, Subscription
from portal.billing.payment_methods import fetch_payment_method
from portal.billing.portal_configuration import sync_portal_configuration
from portal.catalog.current import catalog
from portal.core.database import db
from portal.core.failpoints import VARIABLE
from tests.cast import Cast
from tests.stage import VISA, Stage

MASTERCARD = "5555555555554444"
DETAILS = {"name": "Harbor Analytics GmbH", "country": "DE"}


def subscribed(cast: Cast, stage: Stage) -> str:
    """Buy a plan; returns the subscription's id at Stripe."""
    sync_portal_configuration(gateway(), catalog(), stage.app.config["SETTINGS"].base_url)
    db.session.remove()
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    found = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    return found


def change_card(cast: Cast, stage: Stage, number: str) -> None:
    """Press the button on our page and fill in the form of the hosted one."""
    pressed = cast.owner.client.post(f"/teams/{cast.team_id}/portal", data={"flow": "payment_method_update"})
    assert pressed.status_code == 303
    form = {"card_number": number, "exp": "12 / 99", "cvc": "123", "name": "Owner"}
    address = f"{str(pressed.location).partition('?')[0].rstrip('/')}/payment-methods/add"
    answer = requests.post(address, data=form, allow_redirects=False, timeout=20)
    assert answer.status_code == 303, answer.text


def own_card(stage: Stage, subscription: str) -> str:
    """What the subscription is paid with at Stripe."""
    return str(stage.stripe("GET", f"/v1/subscriptions/{subscription}")["default_payment_method"])


def brand(stage: Stage, card: str) -> str:
    return str(stage.stripe("GET", f"/v1/payment_methods/{card}")["card"]["brand"])


def mirrored_card() -> str | None:
    found = db.session.execute(select(Subscription.default_payment_method)).scalar_one()
    db.session.remove()
    return found


def test_a_card_changed_in_the_portal_pays_the_next_invoice(cast: Cast, stage: Stage) -> None:
    subscription = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    stage.deliver_all()
    assert brand(stage, own_card(stage, subscription)) == "mastercard"
    stage.deliver_all()
    assert mirrored_card() == own_card(stage, subscription)

    stage.advance(timedelta(days=32))
    stage.deliver_all()
    newest = select(Payment.brand, Payment.status).order_by(Payment.occurred_at.desc()).limit(1)
    assert tuple(db.session.execute(newest).one()) == ("mastercard", "succeeded")


def test_the_same_again_and_another_card_after_it(cast: Cast, stage: Stage) -> None:
    subscription = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    events = stage.deliver_all()
    stage.deliver_all()
    for event in events:
        stage.deliver(event)
    stage.drain()
    assert stage.new_events() == [], "what is known already changes nothing at Stripe"
    change_card(cast, stage, VISA)
    stage.deliver_all()
    stage.deliver_all()
    customer = stage.stripe("GET", "/v1/customers", limit=1)["data"][0]
    assert own_card(stage, subscription) == customer["invoice_settings"]["default_payment_method"]
    assert brand(stage, own_card(stage, subscription)) == "visa"
    assert mirrored_card() == own_card(stage, subscription)


def test_a_crash_between_the_call_and_the_commit_repeats_harmlessly(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    (event,) = (one for one in stage.new_events() if one["type"] == "customer.updated")
    assert stage.deliver(event) == 200
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, "webhooks.applied:raise")
        stage.drain()
    assert db.session.execute(select(Customer.default_payment_method)).scalar_one() is None
    db.session.remove()
    card = own_card(stage, subscription)
    assert brand(stage, card) == "mastercard"
    assert [one["type"] for one in stage.new_events()] == ["customer.subscription.updated"]

    db.session.execute(text("update stripe_events set run_at = app_now() where state = 'pending'"))
    db.session.commit()
    stage.drain()
    assert db.session.execute(select(Customer.default_payment_method)).scalar_one() == card
    db.session.remove()
    assert stage.new_events() == [], "the second call was answered as the first was"
    assert own_card(stage, subscription) == card


def test_a_name_that_changes_moves_no_card(cast: Cast, stage: Stage) -> None:
    subscription = subscribed(cast, stage)
    before = own_card(stage, subscription)
    customer = db.session.execute(select(Customer.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("POST", f"/v1/customers/{customer}", name="Another name")
    stage.deliver_all()
    assert own_card(stage, subscription) == before
    assert stage.new_events() == []


def test_an_answer_that_was_overtaken_moves_no_card_back(cast: Cast, stage: Stage) -> None:
    """Two workers at once: the one that has asked first comes last."""
    subscription = subscribed(cast, stage)
    customer = db.session.execute(select(Customer.stripe_id)).scalar_one()
    assert customer is not None
    change_card(cast, stage, MASTERCARD)
    slow = fetch_customer(gateway(), customer)
    change_card(cast, stage, VISA)
    stage.deliver_all()
    newest = own_card(stage, subscription)
    with pytest.raises(StaleFetch):
        let_new_card_pay(gateway(), slow, "evt_slow")
    db.session.remove()
    assert own_card(stage, subscription) == newest
    assert brand(stage, newest) == "visa"


def save_details(cast: Cast, _: Stage) -> None:
    assert cast.owner.client.post(f"/teams/{cast.team_id}/billing-details", data=DETAILS).status_code == 303


def add_tax_id(cast: Cast, _: Stage) -> None:
    form = {"kind": "eu_vat", "value": "DE123456789"}
    assert cast.owner.client.post(f"/teams/{cast.team_id}/billing-details/tax-ids", data=form).status_code == 303


def send_another_email(cast: Cast, _: Stage) -> None:
    db.session.execute(update(Team).where(Team.id == cast.team_id).values(billing_email="bills@harbor.example"))
    db.session.commit()
    send_email(gateway(), cast.team_id)
    db.session.remove()


def hear_of_a_tax_id(_: Cast, stage: Stage) -> None:
    customer = db.session.execute(select(Customer.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("POST", f"/v1/customers/{customer}/tax_ids", type="us_ein", value="12-3456789")
    for event in stage.new_events():
        if event["type"].startswith("customer.tax_id."):
            assert stage.deliver(event) == 200
    stage.drain()


@pytest.mark.parametrize("look", [save_details, add_tax_id, send_another_email, hear_of_a_tax_id])
def test_a_new_card_pays_though_something_else_looked_at_the_customer_before_the_news_came(
    cast: Cast, stage: Stage, look: Callable[[Cast, Stage], None]
) -> None:
    subscription = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    late = stage.new_events()
    look(cast, stage)
    for event in late:
        assert stage.deliver(event) == 200
    stage.drain()
    assert brand(stage, own_card(stage, subscription)) == "mastercard"
    stage.deliver_all()
    assert mirrored_card() == own_card(stage, subscription)


def test_a_new_card_pays_though_something_else_writes_the_customer_while_the_news_is_applied(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    (event,) = (one for one in stage.new_events() if one["type"] == "customer.updated")
    fetch_card = "portal.webhooks.handlers.customer.fetch_payment_method"

    def overtaken(*args: Any) -> Any:
        monkeypatch.setattr(fetch_card, fetch_payment_method)
        save_details(cast, stage)
        return fetch_payment_method(*args)

    monkeypatch.setattr(fetch_card, overtaken)
    assert stage.deliver(event) == 200
    stage.drain()
    assert brand(stage, own_card(stage, subscription)) == "mastercard"
    assert db.session.execute(select(Customer.default_payment_method)).scalar_one() == own_card(stage, subscription)
    db.session.remove()
