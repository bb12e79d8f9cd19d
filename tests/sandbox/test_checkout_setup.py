"""Checkout that saves a card and takes nothing."""

import pytest

from tests.sandbox.driving import DECLINED_CARD, Driver, Json

ORDER: Json = {"mode": "setup", "currency": "usd", "success_url": "http://127.0.0.1:9/?s={CHECKOUT_SESSION_ID}"}
ASKS = "4000 0025 0000 3155"


def _open(sandbox: Driver, **more: str) -> Json:
    return sandbox.post("/v1/checkout/sessions", ORDER | more)


def _customer(sandbox: Driver) -> str:
    return str(sandbox.post("/v1/customers", {"email": "ada@b.co"})["id"])


def test_a_card_is_saved_for_a_customer(sandbox: Driver) -> None:
    data = {"setup_intent_data[metadata][why]": "later", "setup_intent_data[description]": "For later"}
    session = _open(sandbox, customer=_customer(sandbox), **data)
    assert (session["amount_total"], session["payment_status"], session["currency"]) == (
        None,
        "no_payment_required",
        "usd",
    )
    intent = sandbox.get(f"/v1/setup_intents/{session['setup_intent']}")
    assert (intent["status"], intent["metadata"]) == ("requires_payment_method", {"why": "later"})
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    assert "Save a card" in page
    assert "Nothing is charged today" in page
    paid = sandbox.paid(session)
    assert (paid["status"], paid["payment_status"]) == ("complete", "no_payment_required")
    intent = sandbox.get(f"/v1/setup_intents/{session['setup_intent']}")
    saved = sandbox.get("/v1/payment_methods", customer=session["customer"])["data"]
    assert (intent["status"], [one["id"] for one in saved]) == ("succeeded", [intent["payment_method"]])
    assert sandbox.event_types()[-3:] == [
        "payment_method.attached",
        "setup_intent.succeeded",
        "checkout.session.completed",
    ]
    assert sandbox.get("/v1/charges")["data"] == []


@pytest.mark.parametrize(("creation", "customers"), [("if_required", 0), ("always", 1)])
def test_a_customer_is_made_where_that_is_asked_for(sandbox: Driver, creation: str, customers: int) -> None:
    session = _open(sandbox, customer_creation=creation)
    assert sandbox.pay(session, DECLINED_CARD).status_code == 402
    assert sandbox.get("/v1/customers")["data"] == []
    assert sandbox.event_types()[-1] == "setup_intent.setup_failed"
    paid = sandbox.paid(session)
    assert len(sandbox.get("/v1/customers")["data"]) == customers
    assert (paid["customer"] is not None) == bool(customers)


def test_the_bank_asks_before_its_card_is_saved(sandbox: Driver) -> None:
    session = _open(sandbox, customer=_customer(sandbox))
    asked = sandbox.pay(session, card_number=ASKS)
    assert asked.headers["Location"].endswith("/authenticate")
    page = f"/c/pay/{session['id']}/authenticate"
    assert "nothing is due today" in sandbox.client.get(page).get_data(as_text=True)
    assert sandbox.client.post(page, data={"answer": "complete"}).status_code == 303
    assert sandbox.get(f"/v1/setup_intents/{session['setup_intent']}")["status"] == "succeeded"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"line_items[0][price]": "price_1", "line_items[0][quantity]": "1"}, "line_items"),
        ({"discounts[0][coupon]": "x"}, "discounts"),
        ({"automatic_tax[enabled]": "true"}, "automatic_tax"),
        ({"payment_intent_data[description]": "x"}, "payment_intent_data"),
        ({"allowed_payment_method_types[0]": "sepa_debit", "currency": "eur"}, "allowed_payment_method_types"),
    ],
)
def test_what_needs_a_sum_is_refused(sandbox: Driver, sent: Json, param: str) -> None:
    status, error = sandbox.error("POST", "/v1/checkout/sessions", ORDER | sent)
    assert (status, error["param"]) == (400, param)
    missing = {name: value for name, value in ORDER.items() if name != "currency"}
    assert sandbox.error("POST", "/v1/checkout/sessions", missing)[1]["param"] == "currency"
    assert sandbox.count().get("setup_intent", 0) == 0
