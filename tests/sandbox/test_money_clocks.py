"""Refunds, credit notes and usage of a customer on a test clock go by that clock."""

import pytest

from tests.sandbox.driving import Driver, Json

CLOCKS = "/v1/test_helpers/test_clocks"
START = 1_900_000_000


@pytest.fixture
def clock(sandbox: Driver) -> str:
    return str(sandbox.post(CLOCKS, {"frozen_time": START})["id"])


def payer(sandbox: Driver, clock: str, card: str) -> tuple[str, str]:
    """A customer on the clock; returns it and its card."""
    customer = sandbox.post("/v1/customers", {"test_clock": clock, "payment_method": f"pm_card_{card}"})["id"]
    return customer, sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]


def begin(sandbox: Driver, clock: str, card: str) -> tuple[str, str]:
    """A plan of a customer on the clock; returns the customer and the first invoice."""
    customer, method = payer(sandbox, clock, card)
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"], "default_payment_method": method}
    return customer, sandbox.post("/v1/subscriptions", order)["latest_invoice"]


def advance(sandbox: Driver, clock: str, to: int) -> None:
    sandbox.post(f"{CLOCKS}/{clock}/advance", {"frozen_time": to})
    while sandbox.get(f"{CLOCKS}/{clock}")["status"] != "ready":
        pass


def test_a_refund_is_answered_when_its_own_clock_gets_there(sandbox: Driver, clock: str) -> None:
    customer, _ = begin(sandbox, clock, "pendingRefund")
    charge = sandbox.get("/v1/charges", customer=customer)["data"][0]["id"]
    refund: Json = sandbox.post("/v1/refunds", {"charge": charge})
    assert (refund["created"], refund["status"]) == (START, "pending")
    sandbox.pass_by(2)
    assert sandbox.get(f"/v1/refunds/{refund['id']}")["status"] == "pending"
    advance(sandbox, clock, START + 86400)
    assert sandbox.get(f"/v1/refunds/{refund['id']}")["status"] == "succeeded"
    told = next(event for event in sandbox.events() if event["type"] == "refund.updated")
    assert told["created"] == START + 600


def test_a_credit_note_is_dated_by_its_customers_clock(sandbox: Driver, clock: str) -> None:
    _, invoice = begin(sandbox, clock, "visa")
    note = sandbox.post("/v1/credit_notes", {"invoice": invoice, "amount": 900, "credit_amount": 900})
    assert (note["created"], note["effective_at"]) == (START, START)


def test_usage_lies_in_the_time_of_its_customer(sandbox: Driver, clock: str) -> None:
    sent = {"display_name": "Runs", "event_name": "runs", "default_aggregation[formula]": "sum"}
    meter = sandbox.post("/v1/billing/meters", sent)["id"]
    customer, method = payer(sandbox, clock, "visa")
    price = sandbox.price(5, **{"recurring[usage_type]": "metered", "recurring[meter]": meter})["id"]
    order = {"customer": customer, "items[0][price]": price, "default_payment_method": method}
    sandbox.post("/v1/subscriptions", order)
    used = {"event_name": "runs", "payload[stripe_customer_id]": customer, "payload[value]": "10"}
    assert sandbox.post("/v1/billing/meter_events", used)["timestamp"] == START
    sandbox.post("/v1/billing/meter_events", used | {"identifier": "one"})
    assert sandbox.error("POST", "/v1/billing/meter_events", used | {"timestamp": START + 301})[0] == 400
    advance(sandbox, clock, START + 32 * 86400)
    assert sandbox.get("/v1/invoices", customer=customer)["data"][0]["total"] == 100
    cancel = {"event_name": "runs", "type": "cancel", "cancel[identifier]": "one"}
    assert sandbox.error("POST", "/v1/billing/meter_event_adjustments", cancel)[0] == 400
