"""A subscription after it has begun, and subscriptions begun through the API."""

import json

import pytest

from tests.sandbox.driving import Driver, Json, Wall


@pytest.fixture
def begun(sandbox: Driver) -> Json:
    paid = sandbox.paid(sandbox.session(customer=sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]))
    return sandbox.get(f"/v1/subscriptions/{paid['subscription']}")


def _last_event(sandbox: Driver) -> Json:
    return sandbox.events()[-1]


def test_updates_tell_what_was_before(sandbox: Driver, begun: Json) -> None:
    path = f"/v1/subscriptions/{begun['id']}"
    sandbox.post(path, {"metadata[seats]": "3"})
    event = _last_event(sandbox)
    assert event["type"] == "customer.subscription.updated"
    assert event["data"]["previous_attributes"] == {"metadata": {"seats": None}}
    assert event["data"]["object"] == sandbox.get(path)
    number = len(sandbox.events())
    sandbox.post(path, {"metadata[seats]": "3"})
    assert len(sandbox.events()) == number


def test_cancelling_at_the_periods_end_and_taking_it_back(sandbox: Driver, begun: Json, wall: Wall) -> None:
    path = f"/v1/subscriptions/{begun['id']}"
    end = begun["items"]["data"][0]["current_period_end"]
    data = {"cancel_at_period_end": "true", "cancellation_details[feedback]": "too_expensive"}
    after = sandbox.post(path, data)
    assert (after["status"], after["cancel_at_period_end"]) == ("active", True)
    assert (after["cancel_at"], after["canceled_at"]) == (end, wall.at)
    assert after["cancellation_details"]["reason"] == "cancellation_requested"
    assert after["cancellation_details"]["feedback"] == "too_expensive"
    back = sandbox.post(path, {"cancel_at_period_end": "false"})
    assert (back["cancel_at_period_end"], back["cancel_at"], back["canceled_at"]) == (False, None, None)


def test_cancelling_at_a_time(sandbox: Driver, begun: Json, wall: Wall) -> None:
    path = f"/v1/subscriptions/{begun['id']}"
    end = begun["items"]["data"][0]["current_period_end"]
    for sent, at in (("min_period_end", end), (str(wall.at + 500), wall.at + 500)):
        after = sandbox.post(path, {"cancel_at": sent})
        assert (after["cancel_at"], after["cancel_at_period_end"]) == (at, False)
    assert sandbox.post(path, {"cancel_at": ""})["cancel_at"] is None
    assert sandbox.error("POST", path, {"cancel_at": str(wall.at)})[0] == 400
    assert sandbox.error("POST", path, {"cancel_at": "min_period_end", "cancel_at_period_end": "true"})[0] == 400


def test_cancelling_now(sandbox: Driver, begun: Json, wall: Wall) -> None:
    path = f"/v1/subscriptions/{begun['id']}"
    after = sandbox.call("DELETE", path)
    assert (after["status"], after["ended_at"], after["canceled_at"]) == ("canceled", wall.at, wall.at)
    assert _last_event(sandbox)["type"] == "customer.subscription.deleted"
    assert sandbox.error("DELETE", path)[0] == 404
    assert sandbox.error("POST", path, {"cancel_at_period_end": "true"})[0] == 400
    assert sandbox.post(path, {"metadata[a]": "1"})["metadata"]["a"] == "1"


def test_lists_leave_out_what_has_ended(sandbox: Driver, begun: Json) -> None:
    customer, price = begun["customer"], begun["items"]["data"][0]["price"]["id"]
    assert len(sandbox.get("/v1/subscriptions", customer=customer, price=price)["data"]) == 1
    assert sandbox.get("/v1/subscriptions", price="price_other")["data"] == []
    assert len(sandbox.get("/v1/subscriptions", status="active")["data"]) == 1
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}")
    for status, number in ((None, 0), ("active", 0), ("all", 1), ("canceled", 1), ("ended", 1)):
        params = {"status": status} if status else {}
        assert len(sandbox.get("/v1/subscriptions", customer=customer, **params)["data"]) == number


def test_deleting_a_customer_ends_the_subscriptions(sandbox: Driver, begun: Json) -> None:
    sandbox.call("DELETE", f"/v1/customers/{begun['customer']}")
    assert sandbox.get(f"/v1/subscriptions/{begun['id']}")["status"] == "canceled"
    assert sandbox.event_types()[-2:] == ["customer.subscription.deleted", "customer.deleted"]


def test_the_default_card_is_the_customers_own(sandbox: Driver, begun: Json) -> None:
    path = f"/v1/subscriptions/{begun['id']}"
    card = sandbox.post("/v1/payment_methods/pm_card_mastercard/attach", {"customer": begun["customer"]})["id"]
    assert sandbox.post(path, {"default_payment_method": card})["default_payment_method"] == card
    other = sandbox.post("/v1/payment_methods", {"type": "card", "card[token]": "tok_visa"})["id"]
    assert sandbox.error("POST", path, {"default_payment_method": other})[0] == 400
    sandbox.post(f"/v1/payment_methods/{card}/detach")
    assert sandbox.get(path)["default_payment_method"] is None


def test_items(sandbox: Driver, begun: Json) -> None:
    listed = sandbox.get("/v1/subscription_items", subscription=begun["id"])
    assert listed["data"] == begun["items"]["data"]
    item = begun["items"]["data"][0]
    assert sandbox.get(f"/v1/subscription_items/{item['id']}") == item
    assert sandbox.error("GET", "/v1/subscription_items")[1]["code"] == "parameter_missing"


def _payer(sandbox: Driver, card: str) -> tuple[str, str]:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    attached = sandbox.post(f"/v1/payment_methods/{card}/attach", {"customer": customer})["id"]
    return customer, attached


def test_a_refused_card_leaves_an_incomplete_subscription(sandbox: Driver) -> None:
    customer, card = _payer(sandbox, "pm_card_chargeCustomerFail")
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"], "default_payment_method": card}
    begun = sandbox.post("/v1/subscriptions", order)
    invoice = sandbox.get(f"/v1/invoices/{begun['latest_invoice']}")
    assert (begun["status"], invoice["status"], invoice["attempt_count"]) == ("incomplete", "open", 1)
    assert invoice["amount_remaining"] == 2900
    assert sandbox.event_types()[-6:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "customer.subscription.created",
        "customer.updated",
        "invoice.updated",
        "invoice.payment_failed",
    ]
    pay = f"/v1/invoices/{invoice['id']}/pay"
    status, error = sandbox.error("POST", pay)
    assert (status, error["type"], error["decline_code"]) == (402, "card_error", "generic_decline")
    # Only the first try and those of the clock are counted.
    assert sandbox.get(f"/v1/invoices/{invoice['id']}")["attempt_count"] == 1
    good = sandbox.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
    assert sandbox.post(pay, {"payment_method": good})["status"] == "paid"
    assert sandbox.get(f"/v1/subscriptions/{begun['id']}")["status"] == "active"
    assert _last_event(sandbox)["data"]["previous_attributes"] == {"status": "incomplete"}
    assert sandbox.error("POST", pay, {"payment_method": good})[1]["code"] == "invoice_already_paid"


def test_a_refused_card_leaves_nothing_when_told_so(sandbox: Driver) -> None:
    customer, card = _payer(sandbox, "pm_card_chargeCustomerFail")
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"], "default_payment_method": card}
    count = sandbox.count()
    response = sandbox.send("POST", "/v1/subscriptions", order | {"payment_behavior": "error_if_incomplete"})
    assert response.status_code == 402
    assert json.loads(response.data)["error"]["type"] == "card_error"
    assert sandbox.count() == count


def test_a_subscription_needs_a_card_when_money_is_due(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"]}
    assert sandbox.error("POST", "/v1/subscriptions", order)[0] == 400
    assert sandbox.post("/v1/subscriptions", order | {"trial_period_days": 7})["status"] == "trialing"
    once = sandbox.price(interval=None)["id"]
    assert sandbox.error("POST", "/v1/subscriptions", order | {"items[0][price]": once})[0] == 400


def test_what_is_added_is_billed_once_with_the_first_invoice(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 10, "duration": "forever"})["id"]
    setup = sandbox.price(5000, interval=None, name="Setup")["id"]
    added = {"add_invoice_items[0][price]": setup, "add_invoice_items[0][quantity]": 2}
    begun = sandbox.begin(sandbox.price(2900), **added, **{"discounts[0][coupon]": coupon})
    invoice = sandbox.latest_invoice(begun)
    once, recurring = invoice["lines"]["data"]
    assert (once["amount"], recurring["amount"], invoice["total"]) == (10_000, 2900, 11_610)
    assert once["period"] == recurring["period"]
    details = once["parent"]["invoice_item_details"]
    assert details["subscription"] == begun["id"]
    assert sandbox.get(f"/v1/invoiceitems/{details['invoice_item']}")["invoice"] == invoice["id"]
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["total"] == 2610


def test_what_is_added_to_a_trial_is_due_at_once(sandbox: Driver) -> None:
    setup = sandbox.price(5000, interval=None, name="Setup")["id"]
    begun = sandbox.begin(**{"add_invoice_items[0][price]": setup, "trial_period_days": 14})
    assert (begun["status"], sandbox.latest_invoice(begun)["amount_paid"]) == ("trialing", 5000)


def test_what_is_added_to_a_change_waits_for_the_next_invoice(sandbox: Driver) -> None:
    begun, extra = sandbox.begin(sandbox.price(2900)), sandbox.price(700, interval=None)["id"]
    path, added = f"/v1/subscriptions/{begun['id']}", {"add_invoice_items[0][price]": extra}
    sandbox.post(path, added)
    assert sandbox.latest_invoice(begun)["total"] == 2900
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["total"] == 3600
    recurring = {"add_invoice_items[0][price]": sandbox.price(100)["id"]}
    status, error = sandbox.error("POST", path, recurring)
    assert (status, error["param"]) == (400, "add_invoice_items[0][price]")
