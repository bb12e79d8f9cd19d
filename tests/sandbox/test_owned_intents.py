"""Intents that belong to an invoice or a checkout: nobody changes or cancels them alone, and none is paid twice."""

import pytest

from tests.sandbox.driving import DECLINED_CARD, Driver, Json
from tests.sandbox.test_challenge import ONCE

VISA = {"payment_method": "pm_card_visa"}


def _owed(sandbox: Driver, **more: str) -> tuple[Json, Json]:
    """Return the open invoice of a plan that nobody has paid yet, and its intent."""
    begun = sandbox.begin(payment_behavior="default_incomplete", **more)
    invoice = sandbox.latest_invoice(begun)
    (payment,) = sandbox.get("/v1/invoice_payments", invoice=invoice["id"])["data"]
    return invoice, sandbox.get(f"/v1/payment_intents/{payment['payment']['payment_intent']}")


def _bought(sandbox: Driver, form: Json) -> tuple[Json, str]:
    """Return the open session of a purchase that was tried once, and the address of its intent."""
    session = sandbox.session(sandbox.price(interval=None), mode="payment")
    sandbox.pay(session, form)
    session = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert session["status"] == "open"
    return session, f"/v1/payment_intents/{session['payment_intent']}"


@pytest.mark.parametrize("change", [{"amount": 50}, {"currency": "eur"}, {"customer": "cus_other"}])
def test_an_invoice_says_what_its_intent_asks_for(sandbox: Driver, change: Json) -> None:
    invoice, intent = _owed(sandbox)
    path = f"/v1/payment_intents/{intent['id']}"
    status, error = sandbox.error("POST", path, change)
    assert (status, error["param"]) == (400, next(iter(change)))
    assert sandbox.get(path) == intent
    assert sandbox.post(path, {"description": "Pro"} | VISA)["description"] == "Pro"
    assert sandbox.post(f"{path}/confirm")["amount_received"] == 2900
    assert sandbox.get(f"/v1/invoices/{invoice['id']}")["amount_paid"] == 2900


def test_an_invoices_intent_goes_with_its_invoice(sandbox: Driver) -> None:
    invoice, intent = _owed(sandbox)
    path = f"/v1/payment_intents/{intent['id']}"
    assert sandbox.error("POST", f"{path}/cancel")[0] == 400
    assert sandbox.get(path)["status"] == "requires_payment_method"
    sandbox.post(f"/v1/invoices/{invoice['id']}/void")
    assert sandbox.get(path)["status"] == "canceled"
    assert sandbox.error("POST", f"{path}/confirm", VISA)[1]["code"] == "payment_intent_unexpected_state"


def test_an_invoice_that_is_settled_by_hand_is_not_paid_again(sandbox: Driver) -> None:
    invoice, intent = _owed(sandbox)
    sandbox.post(f"/v1/invoices/{invoice['id']}/pay", {"paid_out_of_band": "true"})
    assert sandbox.error("POST", f"/v1/payment_intents/{intent['id']}/confirm", VISA)[0] == 400
    assert "charge.succeeded" not in sandbox.event_types()


@pytest.mark.parametrize("form", [DECLINED_CARD, ONCE], ids=["declined", "asked"])
def test_only_its_page_pays_for_a_checkout(sandbox: Driver, form: Json) -> None:
    session, path = _bought(sandbox, form)
    for verb, sent in (("confirm", VISA), ("cancel", {}), ("", VISA), ("", {"amount": 50})):
        status, error = sandbox.error("POST", f"{path}/{verb}".rstrip("/"), sent)
        assert status == 400
        assert "Checkout" in error["message"]
    assert sandbox.client.post(f"{path.replace('/v1/payment_intents', '/pi')}/authenticate").status_code == 404
    assert "charge.succeeded" not in sandbox.event_types()
    assert sandbox.post(path, {"metadata[order]": "7"})["metadata"] == {"order": "7"}
    paid = sandbox.paid(session)
    assert (paid["payment_status"], sandbox.get(path)["status"]) == ("paid", "succeeded")
    assert sandbox.event_types().count("charge.succeeded") == 1


@pytest.mark.parametrize(("amount", "code"), [(10, "amount_too_small"), (100_000_000, "amount_too_large")])
def test_a_sum_that_no_card_can_be_charged(sandbox: Driver, amount: int, code: str) -> None:
    status, error = sandbox.error("POST", "/v1/payment_intents", {"amount": amount, "currency": "usd"})
    assert (status, error["code"], error["param"]) == (400, code, "amount")
    intent = sandbox.post("/v1/payment_intents", {"amount": 500, "currency": "usd"})
    assert sandbox.error("POST", f"/v1/payment_intents/{intent['id']}", {"amount": amount})[1]["code"] == code
