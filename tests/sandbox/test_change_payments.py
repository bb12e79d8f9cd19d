"""A change that costs something at once and is not paid: it stays, goes, or waits, as it was asked for."""

from datetime import UTC, datetime

import pytest

from tests.sandbox.driving import Driver, Wall

JANUARY = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture(autouse=True)
def _new_year(wall: Wall) -> None:
    wall.at = JANUARY


@pytest.mark.parametrize(
    ("behavior", "status", "price"),
    [("allow_incomplete", "past_due", 9900), ("error_if_incomplete", 402, 2900), ("pending_if_incomplete", "active", 2900)],
)  # fmt: skip
def test_a_change_that_is_not_paid(sandbox: Driver, behavior: str, status: str | int, price: int) -> None:
    begun, business = sandbox.begin(), sandbox.price(9900)
    bad = sandbox.card(begun, "pm_card_chargeCustomerFail")
    sandbox.change(begun, default_payment_method=bad)
    sandbox.pass_by(10)
    before = sandbox.count()
    sent = {
        "items[0][id]": begun["items"]["data"][0]["id"],
        "items[0][price]": business["id"],
        "proration_behavior": "always_invoice",
        "payment_behavior": behavior,
    }
    response = sandbox.send("POST", f"/v1/subscriptions/{begun['id']}", sent)
    after = sandbox.subscription(begun)
    assert after["items"]["data"][0]["price"]["unit_amount"] == price
    if behavior == "error_if_incomplete":
        assert (response.status_code, after["status"], sandbox.count()) == (status, "active", before)
        return
    assert (response.status_code, after["status"]) == (200, status)
    assert sandbox.latest_invoice(begun)["status"] == "open"
    assert (after["pending_update"] is not None) == (behavior == "pending_if_incomplete")
    good = sandbox.card(begun)
    sandbox.post(f"/v1/invoices/{after['latest_invoice']}/pay", {"payment_method": good})
    paid = sandbox.subscription(begun)
    assert (paid["status"], paid["pending_update"]) == ("active", None)
    assert paid["items"]["data"][0]["price"]["unit_amount"] == 9900


def test_a_change_that_waits_is_forgotten(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    waiting = sandbox.change(
        begun, quantity=4, proration_behavior="always_invoice", payment_behavior="pending_if_incomplete"
    )
    assert waiting["pending_update"]["subscription_items"][0]["quantity"] == 4
    assert waiting["pending_update"]["expires_at"] == JANUARY + 23 * 3600
    sandbox.pass_by(1)
    assert sandbox.subscription(begun)["pending_update"] is None
    assert sandbox.latest_invoice(begun)["status"] == "void"
    assert sandbox.event_types()[-1] == "customer.subscription.pending_update_expired"
    assert sandbox.subscription(begun)["items"]["data"][0]["quantity"] == 1


def test_a_change_that_waits_goes_with_its_invoice(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    waits = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    waiting = sandbox.change(begun, quantity=4, **waits)
    voided = sandbox.post(f"/v1/invoices/{waiting['latest_invoice']}/void")
    after = sandbox.subscription(begun)
    assert (voided["status"], after["pending_update"], after["status"]) == ("void", None, "active")
    assert after["items"]["data"][0]["quantity"] == 1


def test_a_change_that_waits_ends_with_the_plan(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    waits = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    waiting = sandbox.change(begun, quantity=4, **waits)
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}")
    sandbox.post(f"/v1/invoices/{waiting['latest_invoice']}/pay", {"payment_method": sandbox.card(begun)})
    after = sandbox.subscription(begun)
    assert (after["status"], after["pending_update"]) == ("canceled", None)


def test_a_change_that_waits_leaves_alone_what_came_after_it(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    waits = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    waiting = sandbox.change(begun, quantity=4, **waits)
    good = sandbox.card(begun)
    sandbox.change(begun, default_payment_method=good, cancel_at_period_end="true")
    sandbox.post(f"/v1/invoices/{waiting['latest_invoice']}/pay")
    after = sandbox.subscription(begun)
    assert (after["default_payment_method"], after["cancel_at_period_end"]) == (good, True)
    assert after["items"]["data"][0]["quantity"] == 4


def test_a_change_waits_for_a_confirmation(sandbox: Driver) -> None:
    begun = sandbox.begin()
    after = sandbox.change(
        begun, quantity=2, proration_behavior="always_invoice", payment_behavior="default_incomplete"
    )
    invoice = sandbox.latest_invoice(begun)
    assert (after["status"], invoice["status"], invoice["attempt_count"]) == ("past_due", "open", 0)
    intent = sandbox.get("/v1/invoice_payments", invoice=invoice["id"])["data"][0]["payment"]["payment_intent"]
    card = begun["default_payment_method"]
    sandbox.post(f"/v1/payment_intents/{intent}/confirm", {"payment_method": card})
    assert sandbox.subscription(begun)["status"] == "active"
    assert sandbox.latest_invoice(begun)["status"] == "paid"


def test_the_card_that_pays_a_change_is_kept_where_that_is_asked_for(sandbox: Driver) -> None:
    begun = sandbox.begin()
    card = sandbox.card(begun)
    sandbox.post(f"/v1/customers/{begun['customer']}", {"invoice_settings[default_payment_method]": card})
    keep = {"payment_settings[save_default_payment_method]": "on_subscription"}
    assert sandbox.change(begun, default_payment_method="", **keep)["default_payment_method"] is None
    changed = sandbox.change(begun, quantity=2, proration_behavior="always_invoice")
    assert (changed["status"], changed["default_payment_method"]) == ("active", card)
