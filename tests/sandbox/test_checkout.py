"""Checkout Sessions and what comes of them."""

import threading
from typing import Any

import pytest

from portal.sandbox.periods import add_interval
from tests.sandbox.driving import DECLINED_CARD, Driver, Json, Wall

SUBSCRIBED = [
    "payment_method.attached",
    "invoice.created",
    "invoice.finalized",
    "payment_intent.created",
    "customer.updated",
    "charge.succeeded",
    "payment_intent.succeeded",
    "customer.subscription.created",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
    "checkout.session.completed",
]


@pytest.fixture
def customer(sandbox: Driver) -> Json:
    return sandbox.post("/v1/customers", {"email": "ada@example.com", "metadata[team_id]": "team_1"})


def test_an_open_session_has_made_nothing_yet(sandbox: Driver, customer: Json) -> None:
    session = sandbox.session(customer=customer["id"], client_reference_id="team_1", **{"metadata[plan]": "pro"})
    assert session["id"].startswith("cs_test_")
    assert session["url"].endswith(f"/c/pay/{session['id']}")
    assert (session["status"], session["payment_status"]) == ("open", "unpaid")
    assert (session["subscription"], session["invoice"], session["payment_intent"]) == (None, None, None)
    assert (session["amount_total"], session["currency"]) == (2900, "usd")
    assert (session["client_reference_id"], session["metadata"]) == ("team_1", {"plan": "pro"})
    assert session["customer_details"]["email"] == "ada@example.com"
    assert set(sandbox.count()) == {"checkout.session", "customer", "event", "item", "price", "product"}


def test_subscribing(sandbox: Driver, customer: Json, wall: Wall) -> None:
    price, seat = sandbox.price(9900), sandbox.price(1200, name="Seat")
    session = sandbox.session(
        price,
        customer=customer["id"],
        **{
            "line_items[1][price]": seat["id"],
            "line_items[1][quantity]": 3,
            "subscription_data[metadata][team_id]": "team_1",
        },
    )
    before = len(sandbox.events())
    response = sandbox.pay(session)
    assert response.status_code == 303
    assert response.headers["Location"] == f"http://127.0.0.1:9/return?session={session['id']}"
    paid = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (paid["status"], paid["payment_status"], paid["url"]) == ("complete", "paid", None)
    assert (paid["customer"], paid["payment_intent"]) == (customer["id"], None)
    subscription = sandbox.get(f"/v1/subscriptions/{paid['subscription']}")
    _check_subscription(subscription, wall.at)
    assert subscription["latest_invoice"] == paid["invoice"]
    assert [(item["price"]["id"], item["quantity"]) for item in subscription["items"]["data"]] == [
        (price["id"], 1),
        (seat["id"], 3),
    ]
    _check_invoice(sandbox, paid["invoice"], subscription, 9900 + 3 * 1200)
    _check_money(sandbox, paid["invoice"], subscription["default_payment_method"], 9900 + 3 * 1200)
    assert [event["type"] for event in sandbox.events()][before:] == SUBSCRIBED
    after = sandbox.get(f"/v1/customers/{customer['id']}")
    assert (after["currency"], after["invoice_settings"]["default_payment_method"]) == ("usd", None)


def _check_subscription(subscription: Json, now: int) -> None:
    assert (subscription["status"], subscription["metadata"]) == ("active", {"team_id": "team_1"})
    assert subscription["billing_mode"]["type"] == "flexible"
    assert "current_period_end" not in subscription
    for item in subscription["items"]["data"]:
        assert item["current_period_start"] == now
        assert item["current_period_end"] == add_interval(now, "month", 1)
        assert item["subscription"] == subscription["id"]


def _check_invoice(sandbox: Driver, invoice_id: str, subscription: Json, total: int) -> None:
    invoice = sandbox.get(f"/v1/invoices/{invoice_id}")
    assert (invoice["status"], invoice["billing_reason"]) == ("paid", "subscription_create")
    assert (invoice["total"], invoice["amount_paid"], invoice["amount_remaining"]) == (total, total, 0)
    assert invoice["number"].endswith("-0001")
    details = invoice["parent"]["subscription_details"]
    assert details == {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    for line, item in zip(invoice["lines"]["data"], subscription["items"]["data"], strict=True):
        price = item["price"]
        assert line["pricing"]["price_details"] == {"price": price["id"], "product": price["product"]}
        parent = line["parent"]["subscription_item_details"]
        assert (parent["subscription_item"], parent["proration"]) == (item["id"], False)
        assert line["period"] == {"start": item["current_period_start"], "end": item["current_period_end"]}
        assert line["amount"] == price["unit_amount"] * item["quantity"]


def _check_money(sandbox: Driver, invoice_id: str, payment_method: str, total: int) -> None:
    payment = sandbox.get("/v1/invoice_payments", invoice=invoice_id, status="paid")["data"][0]
    intent = sandbox.get(f"/v1/payment_intents/{payment['payment']['payment_intent']}")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", total)
    charge = sandbox.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["paid"], charge["amount_captured"], charge["payment_method"]) == (True, total, payment_method)
    found = sandbox.get(
        "/v1/invoice_payments", **{"payment[type]": "payment_intent", "payment[payment_intent]": intent["id"]}
    )
    assert [entry["invoice"] for entry in found["data"]] == [invoice_id]


def test_a_trial(sandbox: Driver, customer: Json, wall: Wall) -> None:
    session = sandbox.session(customer=customer["id"], **{"subscription_data[trial_period_days]": 14})
    assert session["amount_total"] == 0
    wall.at += 600
    paid = sandbox.paid(session)
    assert paid["payment_status"] == "no_payment_required"
    subscription = sandbox.get(f"/v1/subscriptions/{paid['subscription']}")
    end = wall.at + 14 * 86400
    assert (subscription["status"], subscription["trial_start"], subscription["trial_end"]) == (
        "trialing",
        wall.at,
        end,
    )
    assert subscription["items"]["data"][0]["current_period_end"] == end
    assert subscription["default_payment_method"] is not None
    invoice = sandbox.get(f"/v1/invoices/{paid['invoice']}")
    assert (invoice["status"], invoice["total"], invoice["billing_reason"]) == ("paid", 0, "subscription_create")
    assert invoice["lines"]["data"][0]["period"] == {"start": wall.at, "end": end}
    assert sandbox.get("/v1/invoice_payments")["data"] == []
    assert "charge" not in sandbox.count()
    assert "invoice.paid" in sandbox.event_types()


@pytest.mark.parametrize("trial", [{}, {"subscription_data[trial_period_days]": 14}])
@pytest.mark.parametrize("known", [True, False])
def test_a_declined_card_leaves_nothing(sandbox: Driver, customer: Json, trial: Json, known: bool) -> None:
    session = sandbox.session(**trial, **({"customer": customer["id"]} if known else {}))
    count, types = sandbox.count(), sandbox.event_types()
    response = sandbox.pay(session, DECLINED_CARD)
    page = response.get_data(as_text=True)
    assert response.status_code == 402
    assert "Your card was declined." in page
    assert "Nothing was charged." in page
    assert (sandbox.count(), sandbox.event_types()) == (count, types)
    after = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (after["status"], after["subscription"], after["url"]) == ("open", None, session["url"])
    assert sandbox.paid(session)["status"] == "complete"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("4000000000009995", "insufficient funds"),
        ("4000000000000069", "expired"),
        ("4000000000000127", "security code is incorrect"),
        ("4000000000000341", "declined"),
        ("4012888888881881", "test cards only"),
    ],
)
def test_other_refusals(sandbox: Driver, number: str, words: str) -> None:
    response = sandbox.pay(sandbox.session(), card_number=number)
    assert response.status_code == 402
    assert words in response.get_data(as_text=True)
    assert "subscription" not in sandbox.count()


def test_a_card_that_fails_later_begins_a_trial(sandbox: Driver) -> None:
    session = sandbox.session(**{"subscription_data[trial_period_days]": 14})
    paid = sandbox.paid(session, card_number="4000000000000341")
    assert sandbox.get(f"/v1/subscriptions/{paid['subscription']}")["status"] == "trialing"


def test_a_new_customer(sandbox: Driver) -> None:
    paid = sandbox.paid(sandbox.session(), email="new@example.com")
    customer = sandbox.get(f"/v1/customers/{paid['customer']}")
    assert (customer["email"], customer["name"]) == ("new@example.com", "Ada Buyer")
    assert "customer.created" in sandbox.event_types()


def test_a_customers_own_email_stays(sandbox: Driver, customer: Json) -> None:
    paid = sandbox.paid(sandbox.session(customer=customer["id"]), email="other@example.com")
    assert paid["customer_details"]["email"] == "ada@example.com"
    assert sandbox.get(f"/v1/customers/{customer['id']}")["email"] == "ada@example.com"


def test_paying_twice_pays_once(sandbox: Driver, customer: Json) -> None:
    session = sandbox.session(customer=customer["id"])
    sandbox.paid(session)
    count = sandbox.count()
    again = sandbox.pay(session)
    assert (again.status_code, again.headers["Location"]) == (303, f"http://127.0.0.1:9/return?session={session['id']}")
    assert sandbox.count() == count


def test_paying_at_once_pays_once(sandbox: Driver, customer: Json) -> None:
    session = sandbox.session(customer=customer["id"])
    barrier = threading.Barrier(8)
    statuses: list[int] = []

    def pay() -> None:
        driver = Driver(sandbox.app)
        barrier.wait(20)
        statuses.append(driver.pay(session).status_code)

    threads = [threading.Thread(target=pay) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [303] * 8
    assert {kind: sandbox.count()[kind] for kind in ("subscription", "invoice", "charge")} == {
        "subscription": 1,
        "invoice": 1,
        "charge": 1,
    }


def test_one_time_prices_beside_recurring_ones(sandbox: Driver) -> None:
    setup = sandbox.price(5000, interval=None, name="Setup")
    session = sandbox.session(
        **{
            "line_items[1][price]": setup["id"],
            "line_items[1][quantity]": 1,
            "subscription_data[trial_period_days]": 7,
        }
    )
    paid = sandbox.paid(session)
    assert (paid["amount_total"], paid["payment_status"]) == (5000, "paid")
    invoice = sandbox.get(f"/v1/invoices/{paid['invoice']}")
    assert [line["parent"]["type"] for line in invoice["lines"]["data"]] == [
        "subscription_item_details",
        "invoice_item_details",
    ]
    subscription = sandbox.get(f"/v1/subscriptions/{paid['subscription']}")
    assert (subscription["status"], len(subscription["items"]["data"])) == ("trialing", 1)


def test_buying_once(sandbox: Driver, customer: Json) -> None:
    bundle = sandbox.price(1000, interval=None)
    session = sandbox.session(
        bundle, mode="payment", customer=customer["id"], **{"payment_intent_data[metadata][bundle]": "500"}
    )
    paid = sandbox.paid(session)
    intent = sandbox.get(f"/v1/payment_intents/{paid['payment_intent']}")
    assert (intent["amount"], intent["customer"], intent["metadata"]) == (1000, customer["id"], {"bundle": "500"})
    assert (paid["payment_status"], paid["invoice"], paid["subscription"]) == ("paid", None, None)
    assert sandbox.get("/v1/payment_methods", customer=customer["id"])["data"] == []
    assert sandbox.get("/v1/checkout/sessions", payment_intent=intent["id"])["data"][0]["id"] == session["id"]


def test_a_declined_purchase_keeps_its_failed_charge(sandbox: Driver) -> None:
    session = sandbox.session(sandbox.price(1000, interval=None), mode="payment")
    assert sandbox.pay(session, DECLINED_CARD).status_code == 402
    after = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (after["status"], after["payment_status"]) == ("open", "unpaid")
    assert sandbox.event_types()[-3:] == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]
    paid = sandbox.paid(session)
    assert paid["payment_intent"] == after["payment_intent"]
    charges = sandbox.get("/v1/charges", payment_intent=paid["payment_intent"])["data"]
    assert [charge["status"] for charge in charges] == ["succeeded", "failed"]


def test_a_purchase_with_an_invoice(sandbox: Driver, customer: Json) -> None:
    bundle = sandbox.price(1000, interval=None)
    session = sandbox.session(bundle, mode="payment", customer=customer["id"], **{"invoice_creation[enabled]": "true"})
    invoice = sandbox.get(f"/v1/invoices/{sandbox.paid(session)['invoice']}")
    assert (invoice["status"], invoice["billing_reason"], invoice["parent"]) == ("paid", "manual", None)
    assert sandbox.count()["charge"] == 1


@pytest.mark.parametrize(
    ("more", "made"),
    [
        ({}, False),
        ({"customer_creation": "always"}, True),
        ({"invoice_creation[enabled]": "true"}, True),
        ({"payment_intent_data[setup_future_usage]": "off_session"}, True),
    ],
)
def test_a_guest_becomes_a_customer_when_one_is_needed(sandbox: Driver, more: Json, made: bool) -> None:
    session = sandbox.session(sandbox.price(1000, interval=None), mode="payment", **more)
    assert sandbox.pay(session, DECLINED_CARD).status_code == 402
    assert "customer" not in sandbox.count()
    paid = sandbox.paid(session)
    intent = sandbox.get(f"/v1/payment_intents/{paid['payment_intent']}")
    assert (paid["customer"] is not None) == made
    assert intent["customer"] == paid["customer"]


def test_a_saved_card(sandbox: Driver, customer: Json) -> None:
    bundle = sandbox.price(1000, interval=None)
    more = {"payment_intent_data[setup_future_usage]": "off_session"}
    sandbox.paid(sandbox.session(bundle, mode="payment", customer=customer["id"], **more))
    assert len(sandbox.get(f"/v1/customers/{customer['id']}/payment_methods")["data"]) == 1


def test_no_card_when_none_is_needed(sandbox: Driver) -> None:
    session = sandbox.session(payment_method_collection="if_required", **{"subscription_data[trial_period_days]": 14})
    response = sandbox.client.post(f"/c/pay/{session['id']}", data={"email": "a@b.co"})
    assert response.status_code == 303
    paid = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert sandbox.get(f"/v1/subscriptions/{paid['subscription']}")["default_payment_method"] is None


def test_two_sessions_can_both_be_paid(sandbox: Driver, customer: Json) -> None:
    price = sandbox.price()
    sessions = [sandbox.session(price, customer=customer["id"]) for _ in range(2)]
    assert len({sandbox.paid(session)["subscription"] for session in sessions}) == 2
    numbers = {invoice["number"][-4:] for invoice in sandbox.get("/v1/invoices", customer=customer["id"])["data"]}
    assert numbers == {"0001", "0002"}


def test_expiring(sandbox: Driver) -> None:
    session = sandbox.session()
    expired = sandbox.post(f"/v1/checkout/sessions/{session['id']}/expire")
    assert (expired["status"], expired["url"]) == ("expired", None)
    assert sandbox.event_types()[-1] == "checkout.session.expired"
    assert sandbox.error("POST", f"/v1/checkout/sessions/{session['id']}/expire")[0] == 400
    assert sandbox.pay(session).status_code == 410
    done = sandbox.paid(sandbox.session())
    assert sandbox.error("POST", f"/v1/checkout/sessions/{done['id']}/expire")[0] == 400


@pytest.mark.parametrize("look", ["api", "page", "post"])
def test_a_session_expires_by_itself(sandbox: Driver, wall: Wall, look: str) -> None:
    session = sandbox.session()
    wall.at += 24 * 3600 - 1
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["status"] == "open"
    wall.at += 1
    if look == "page":
        assert sandbox.client.get(f"/c/pay/{session['id']}").status_code == 410
    elif look == "post":
        assert sandbox.pay(session).status_code == 410
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["status"] == "expired"
    assert sandbox.event_types().count("checkout.session.expired") == 1


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"mode": "rental"}, "mode"),
        ({"mode": "payment"}, "line_items"),
        ({"line_items[0][price]": "price_no"}, "line_items[0][price]"),
        ({"line_items[0][quantity]": "0"}, "line_items[0][quantity]"),
        ({"line_items[0][coupon]": "x"}, "line_items[0][coupon]"),
        ({"customer": "cus_no"}, "customer"),
        ({"customer_update[name]": "auto"}, "customer_update"),
        ({"success_url": "not an address"}, "success_url"),
        ({"success_url": "http://a;script-src/"}, "success_url"),
        ({"expires_at": "1"}, "expires_at"),
        ({"ui_mode": "embedded"}, "ui_mode"),
        ({"payment_intent_data[description]": "x"}, "payment_intent_data"),
        ({"subscription_data[trial_period_days]": "0"}, "subscription_data[trial_period_days]"),
        ({"subscription_data[trial_end]": "1800000100"}, "subscription_data[trial_end]"),
        ({"discounts[0][coupon]": "x"}, "discounts[0][coupon]"),
        ({"currency": "eur"}, "currency"),
        ({"line_items[0][quantity]": "999999"}, "line_items"),
    ],
)
def test_sessions_that_are_refused(sandbox: Driver, more: dict[str, Any], param: str) -> None:
    data = {
        "mode": "subscription",
        "line_items[0][price]": sandbox.price()["id"],
        "line_items[0][quantity]": 1,
        "success_url": "http://127.0.0.1:9/",
    }
    status, error = sandbox.error("POST", "/v1/checkout/sessions", data | more)
    assert (status, error["param"]) == (400, param)
    assert "checkout.session" not in sandbox.count()


def test_inactive_prices_and_mixed_ones_are_refused(sandbox: Driver) -> None:
    monthly, yearly = sandbox.price(), sandbox.price(interval="year")
    gone = sandbox.price(active="false")
    data = {"mode": "subscription", "success_url": "http://127.0.0.1:9/"}
    for prices in ([gone], [monthly, yearly]):
        lines = {f"line_items[{number}][price]": price["id"] for number, price in enumerate(prices)}
        lines |= {f"line_items[{number}][quantity]": 1 for number in range(len(prices))}
        assert sandbox.error("POST", "/v1/checkout/sessions", data | lines)[0] == 400


def test_a_customer_deleted_meanwhile(sandbox: Driver, customer: Json) -> None:
    session = sandbox.session(customer=customer["id"])
    sandbox.call("DELETE", f"/v1/customers/{customer['id']}")
    assert sandbox.client.get(f"/c/pay/{session['id']}").status_code == 409
    assert sandbox.pay(session).status_code == 409
    assert "subscription" not in sandbox.count()


def test_line_items(sandbox: Driver) -> None:
    session = sandbox.session()
    listed = sandbox.get(f"/v1/checkout/sessions/{session['id']}/line_items")
    assert [(line["description"], line["quantity"], line["amount_total"]) for line in listed["data"]] == [
        ("Pro", 1, 2900)
    ]
    expanded = sandbox.get(f"/v1/checkout/sessions/{session['id']}", **{"expand[]": "line_items.data.price.product"})
    assert expanded["line_items"]["data"][0]["price"]["product"]["name"] == "Pro"
    assert "line_items" not in sandbox.get(f"/v1/checkout/sessions/{session['id']}")
