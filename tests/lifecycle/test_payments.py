"""The payment history: one row for each thing that happened to money, whatever events tell of it and in which order."""

from __future__ import annotations

import itertools
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.models import Customer, Invoice, Payment, PaymentMethod, Subscription
from portal.core.database import db
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from portal.webhooks import apply
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.models import StripeEvent
from portal.webhooks.signature import sign
from tests.cast import Cast
from tests.purchases import forget_effects
from tests.stage import DECLINED, WEBHOOK_SECRET, Stage


def history(team_id: str) -> list[Payment]:
    query = select(Payment).where(Payment.team_id == team_id).order_by(Payment.occurred_at, Payment.type)
    return list(db.session.execute(query).scalars())


def event(type_name: str, object_id: str, number: int = 1) -> dict[str, Any]:
    """An event as it would come, of which the portal reads only what it is about."""
    return {
        "id": f"evt_{type_name.replace('.', '')}{number}{object_id}",
        "object": "event",
        "type": type_name,
        "livemode": False,
        "created": 1_790_000_000,
        "data": {"object": {"id": object_id}},
    }


def states_of(type_name: str) -> set[str]:
    return set(db.session.execute(select(StripeEvent.state).where(StripeEvent.type == type_name)).scalars())


def customer_of(team_id: str) -> str:
    found = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    db.session.remove()
    assert found is not None
    return found


def a_customer(cast: Cast, stage: Stage) -> str:
    """The team's customer at Stripe, of a checkout that was begun and left."""
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    return customer_of(cast.team_id)


def test_a_subscription_is_one_payment_with_its_card_and_its_invoice(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    payment = history(cast.team_id)[0]
    invoice = db.session.execute(select(Invoice)).scalar_one()
    assert len(history(cast.team_id)) == 1
    assert (payment.type, payment.status, payment.amount) == ("subscription_payment", "succeeded", 29_900)
    assert (payment.brand, payment.last4, payment.invoice_stripe_id) == ("visa", "4242", invoice.stripe_id)
    assert payment.stripe_id == payment.payment_intent_stripe_id
    assert payment.charge_stripe_id
    assert payment.failure_code is None


MONEY_EVENTS = ("payment_intent.succeeded", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded")


def test_all_orders_of_the_news_of_a_payment_make_the_same_row(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = {told["type"]: told for told in stage.new_events()}
    rows = set()
    for order in itertools.permutations(MONEY_EVENTS[:3]):
        forget_effects(stage.app)
        for name in (*order, order[0], MONEY_EVENTS[3]):
            assert stage.deliver(events[name]) == 200
            apply.drain()
        (row,) = history(cast.team_id)
        rows.add((row.stripe_id, row.type, row.status, row.amount, row.invoice_stripe_id, row.occurred_at, row.last4))
        assert balance(cast.team_id).available == 20_000
        db.session.remove()
    assert len(rows) == 1


@pytest.mark.parametrize("told", MONEY_EVENTS[:2])
def test_one_piece_of_news_alone_brings_the_whole_purchase(cast: Cast, stage: Stage, told: str) -> None:
    """Whatever else was lost: the fetched truth is the payment, its invoice, the subscription and its credits."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver(next(each for each in stage.new_events() if each["type"] == told))
    stage.drain()
    assert [row.amount for row in history(cast.team_id)] == [29_900]
    assert db.session.execute(select(Subscription.status)).scalar_one() == "active"
    assert balance(cast.team_id).available == 20_000


def test_a_trial_costs_nothing_and_says_so(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    (payment,) = history(cast.team_id)
    assert (payment.type, payment.status, payment.amount) == ("subscription_payment", "succeeded", 0)
    assert payment.payment_intent_stripe_id is None


def test_a_declined_payment_is_a_row_that_turns_when_the_next_card_pays(cast: Cast, stage: Stage) -> None:
    customer = a_customer(cast, stage)
    intent = stage.stripe("POST", "/v1/payment_intents", customer=customer, amount=8000, currency="usd")
    with pytest.raises(Exception, match="402"):
        stage.stripe(
            "POST",
            f"/v1/payment_intents/{intent['id']}/confirm",
            payment_method="pm_card_visa_chargeDeclinedInsufficientFunds",
        )
    stage.deliver_all()
    (failed,) = history(cast.team_id)
    assert (failed.type, failed.status, failed.amount) == ("top_up", "failed", 8000)
    assert failed.failure_code == "insufficient_funds"
    db.session.remove()
    stage.stripe("POST", f"/v1/payment_intents/{intent['id']}/confirm", payment_method="pm_card_visa")
    stage.deliver_all()
    (paid,) = history(cast.team_id)
    assert (paid.status, paid.amount, paid.failure_code) == ("succeeded", 8000, None)


def test_an_intent_that_nobody_has_tried_to_pay_leaves_no_row(cast: Cast, stage: Stage) -> None:
    customer = a_customer(cast, stage)
    intent = stage.stripe("POST", "/v1/payment_intents", customer=customer, amount=8000, currency="usd")
    assert stage.deliver(event("payment_intent.payment_failed", intent["id"])) == 200
    stage.drain()
    assert history(cast.team_id) == []
    assert states_of("payment_intent.payment_failed") == {"done"}


def test_a_payment_of_nobodys_customer_is_done_with_and_one_of_a_foreign_customer_waits(
    cast: Cast, stage: Stage
) -> None:
    intent = stage.stripe(
        "POST", "/v1/payment_intents", amount=500, currency="usd", payment_method="pm_card_visa", confirm="true"
    )
    foreign = stage.stripe("POST", "/v1/customers", email="elsewhere@example.com")
    theirs = stage.stripe(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        payment_method="pm_card_visa",
        confirm="true",
        customer=foreign["id"],
    )
    stage.new_events()
    stage.deliver(event("payment_intent.succeeded", intent["id"]))
    stage.deliver(event("payment_intent.succeeded", theirs["id"], 2))
    stage.drain()
    assert states_of("payment_intent.succeeded") == {"done", "parked"}
    assert db.session.execute(select(Payment)).first() is None


def without_an_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an invoice that was marked as paid: nothing at Stripe has paid it."""
    monkeypatch.setattr(Gateway, "payments_of_invoice", lambda _self, _invoice_id: [])


def test_an_invoice_paid_outside_of_stripe_is_one_payment(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    without_an_intent(monkeypatch)
    events = stage.new_events()
    for told in events:
        if told["type"].startswith("invoice."):
            stage.deliver(told)
    stage.drain()
    (payment,) = history(cast.team_id)
    invoice = db.session.execute(select(Invoice)).scalar_one()
    assert (payment.stripe_id, payment.amount, payment.last4) == (invoice.stripe_id, 29_900, None)
    assert balance(cast.team_id).available == 20_000


def test_an_invoice_paid_in_parts_has_a_row_for_each_and_they_add_up(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cards for a part each, and the rest by bank transfer that the seller has noted."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    customer = customer_of(cast.team_id)
    pay = {"customer": customer, "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
    intents = [stage.stripe("POST", "/v1/payment_intents", amount=amount, **pay)["id"] for amount in (10_000, 15_000)]
    parts = [
        *({"payment": {"type": "payment_intent", "payment_intent": intent}} for intent in intents),
        {"payment": {"type": "payment_record", "payment_record": "prec_1"}},
    ]
    monkeypatch.setattr(Gateway, "payments_of_invoice", lambda _self, _invoice_id: parts)
    for told in stage.new_events():
        if told["type"].startswith("invoice."):
            stage.deliver(told)
    stage.drain()
    rows = history(cast.team_id)
    assert sorted(row.amount for row in rows) == [4_900, 10_000, 15_000]
    assert {row.type for row in rows} == {"subscription_payment"}
    assert sum(row.amount for row in rows) == db.session.execute(select(Invoice.amount_due)).scalar_one()


@pytest.mark.parametrize(("total", "kind"), [(1_000, "upgrade"), (0, "upgrade"), (-1_000, "downgrade")])
def test_a_change_of_plan_is_an_upgrade_or_a_downgrade(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, total: int, kind: str
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    real = Gateway.invoice

    def changed(self: Gateway, invoice_id: str) -> dict[str, Any]:
        due = max(total, 0)
        return real(self, invoice_id) | {
            "billing_reason": "subscription_update", "total": total, "amount_due": due, "amount_paid": due,
        }  # fmt: skip

    monkeypatch.setattr(Gateway, "invoice", changed)
    without_an_intent(monkeypatch)
    stage.deliver_all()
    assert {(row.type, row.amount) for row in history(cast.team_id)} == {(kind, max(total, 0))}


def test_the_end_of_a_plan_stands_in_the_history_once(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("DELETE", f"/v1/subscriptions/{ours}")
    events = stage.deliver_all()
    for told in events:
        stage.deliver(told | {"id": told["id"] + "again"})
    stage.drain()
    ends = [row for row in history(cast.team_id) if row.type == "cancel"]
    assert [(row.stripe_id, row.amount, row.description) for row in ends] == [(ours, 0, "Business ended")]


# --- cards


def test_a_card_comes_changes_and_goes(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    customer = customer_of(cast.team_id)
    card = stage.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    stage.deliver_all()
    assert row_of(card).detached is False
    stage.stripe("POST", f"/v1/payment_methods/{card}", **{"card[exp_month]": 3, "card[exp_year]": 2038})
    stage.deliver_all()
    assert (row_of(card).exp_month, row_of(card).exp_year) == (3, 2038)
    stage.stripe("POST", f"/v1/payment_methods/{card}/detach")
    stage.deliver_all()
    assert row_of(card).detached is True
    assert states_of("payment_method.detached") == {"done"}
    assert "ending in" in cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)


def test_the_card_that_paid_is_shown_until_it_is_detached(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    card = db.session.execute(select(PaymentMethod.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("POST", f"/v1/payment_methods/{card}/detach")
    events = {told["type"]: told for told in stage.new_events()}
    stage.deliver(events["payment_method.detached"])
    stage.drain()
    page = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "ending in" not in page
    assert "No card yet" in page


def test_cards_of_unknown_customers_wait_and_detached_cards_of_nobody_are_done_with(cast: Cast, stage: Stage) -> None:
    foreign = stage.stripe("POST", "/v1/customers", email="elsewhere@example.com")
    card = stage.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", customer=foreign["id"])["id"]
    stage.deliver_all()
    assert states_of("payment_method.attached") == {"parked"}
    stage.stripe("POST", f"/v1/payment_methods/{card}/detach")
    stage.deliver_all()
    assert states_of("payment_method.detached") == {"done"}
    assert db.session.execute(select(PaymentMethod)).first() is None
    db.session.remove()
    stage.advance(timedelta(minutes=5))
    stage.drain()
    assert states_of("payment_method.attached") == {"done"}, "it is nobody's by now, and that is what is fetched"


def row_of(card: str) -> PaymentMethod:
    db.session.remove()
    return db.session.execute(select(PaymentMethod).where(PaymentMethod.stripe_id == card)).scalar_one()


# --- subscriptions that are paused, and mails


@pytest.mark.parametrize("told", ["customer.subscription.paused", "customer.subscription.resumed"])
def test_a_pause_is_what_a_fetch_says_it_is(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    status = "paused" if told.endswith("paused") else "active"
    real = Gateway.subscription
    monkeypatch.setattr(Gateway, "subscription", lambda self, which: real(self, which) | {"status": status})
    stage.deliver(event(told, ours))
    stage.drain()
    assert db.session.execute(select(Subscription.status)).scalar_one() == status
    assert states_of(told) == {"done"}


def mails(message: str) -> list[dict[str, Any]]:
    query = select(OutboxItem.payload).order_by(OutboxItem.dedupe_key)
    return [payload for payload in db.session.execute(query).scalars() if payload["message"] == message]


def test_the_billing_contacts_hear_once_that_a_trial_ends(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    for number in range(3):
        stage.deliver(event("customer.subscription.trial_will_end", ours, number))
    stage.drain()
    found = mails("trial_will_end")
    assert sorted(mail["to"] for mail in found) == ["billing@example.com", "owner@example.com"]
    assert found[0]["subject"].startswith("Your trial of Pro ends on ")
    assert f"{stage.app.config['SETTINGS'].base_url}/teams/{cast.team_id}/billing" in found[0]["text"]
    assert "$99.00 USD a month" in found[0]["text"]
    assert "Fernway" in found[0]["html"] or stage.app.extensions["catalog"].portal.name in found[0]["html"]


def test_nobody_hears_of_the_end_of_a_trial_that_is_over(cast: Cast, stage: Stage) -> None:
    """The news was late, or was delivered again."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    stage.deliver(event("customer.subscription.trial_will_end", ours))
    stage.drain()
    assert mails("trial_will_end") == []
    assert states_of("customer.subscription.trial_will_end") == {"done"}


def test_the_billing_contacts_hear_once_that_the_bank_wants_them(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    invoice_id = db.session.execute(select(Invoice.stripe_id)).scalar_one()
    db.session.remove()
    real = Gateway.invoice
    monkeypatch.setattr(Gateway, "invoice", lambda self, which: real(self, which) | {"status": "open"})
    for number in range(2):
        stage.deliver(event("invoice.payment_action_required", invoice_id, number))
    stage.drain()
    found = mails("payment_action_required")
    assert sorted(mail["to"] for mail in found) == ["billing@example.com", "owner@example.com"]
    assert found[0]["subject"] == "Your bank asks you to confirm $299.00 USD"
    hosted = db.session.execute(select(Invoice.hosted_invoice_url)).scalar_one()
    assert hosted in found[0]["text"]


def test_nobody_is_asked_to_confirm_what_is_paid(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    invoice_id = db.session.execute(select(Invoice.stripe_id)).scalar_one()
    db.session.remove()
    stage.deliver(event("invoice.payment_action_required", invoice_id))
    stage.drain()
    assert mails("payment_action_required") == []


# --- thin events


def thin(type_name: str, object_id: str, snapshot: str | None, number: int = 1) -> dict[str, Any]:
    return {
        "id": f"evt_thin{number}{object_id}",
        "object": "v2.core.event",
        "type": type_name,
        "livemode": False,
        "created": "2026-11-25T12:00:00.000Z",
        "related_object": {"id": object_id, "type": type_name.split(".")[1], "url": f"/v1/{object_id}"},
        "snapshot_event": snapshot,
    }


def test_a_thin_event_alone_does_what_its_snapshot_would(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(told for told in stage.new_events() if told["type"] == "invoice.paid")
    assert stage.deliver(thin("v1.invoice.paid", paid["data"]["object"]["id"], None)) == 200
    stage.drain()
    assert balance(cast.team_id).available == 20_000
    assert [row.amount for row in history(cast.team_id)] == [29_900]
    assert states_of("v1.invoice.paid") == {"done"}


def test_a_destination_for_thin_events_has_a_secret_of_its_own(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(told for told in stage.new_events() if told["type"] == "invoice.paid")
    body = json.dumps(thin("v1.invoice.paid", paid["data"]["object"]["id"], paid["id"])).encode()
    for secret, status in (("whsec_unknown", 400), (f"{WEBHOOK_SECRET}_old", 200)):
        header = sign(body, secret, int(time.time()))
        answer = stage.app.test_client().post("/webhooks/stripe", data=body, headers={"Stripe-Signature": header})
        assert answer.status_code == status
    stage.drain()
    assert balance(cast.team_id).available == 20_000


@pytest.mark.parametrize("thin_first", [True, False])
def test_when_both_forms_arrive_the_work_is_done_once(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, thin_first: bool
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(told for told in stage.new_events() if told["type"] == "invoice.paid")
    both = [thin("v1.invoice.paid", paid["data"]["object"]["id"], paid["id"]), paid]
    asked: list[str] = []
    real = Gateway.invoice

    def counted(self: Gateway, invoice_id: str) -> dict[str, Any]:
        asked.append(invoice_id)
        return real(self, invoice_id)

    monkeypatch.setattr(Gateway, "invoice", counted)
    for told in both if thin_first else reversed(both):
        assert stage.deliver(told) == 200
        stage.drain()
    assert len(asked) == 1
    assert sorted(db.session.execute(select(StripeEvent.state)).scalars()) == ["done", "ignored"]
    assert balance(cast.team_id).available == 20_000


def test_a_form_whose_twin_could_not_be_applied_is_applied(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(told for told in stage.new_events() if told["type"] == "invoice.paid")

    def trouble(*_args: object) -> None:
        raise RuntimeError("it is broken")

    with monkeypatch.context() as patch:
        patch.setitem(HANDLERS, "invoice.paid", trouble)
        stage.deliver(paid)
        stage.drain()
    stage.deliver(thin("v1.invoice.paid", paid["data"]["object"]["id"], paid["id"]))
    stage.drain()
    assert states_of("v1.invoice.paid") == {"done"}
    assert balance(cast.team_id).available == 20_000


@pytest.mark.parametrize(
    "type_name", ["v1.billing.meter.error_report_triggered", "v2.core.account.closed", "v1.made.up"]
)
def test_thin_events_that_nobody_applies_are_kept_and_ignored(stage: Stage, type_name: str) -> None:
    assert stage.deliver(thin(type_name, "obj_1", None)) == 200
    assert db.session.execute(select(StripeEvent.state)).scalar_one() == "ignored"


def test_a_declined_checkout_leaves_no_payment(cast: Cast, stage: Stage) -> None:
    stage.pay(stage.begin_checkout(cast.owner, cast.team_id, "business"), DECLINED)
    stage.deliver_all()
    assert history(cast.team_id) == []
