"""Saving a card without a charge: by the API, as a trigger or a form of one's own would."""

import pytest

from tests.sandbox.driving import Driver, Json


def _intent(sandbox: Driver, **sent: str) -> Json:
    return sandbox.post("/v1/setup_intents", dict(sent))


def test_a_card_is_saved_at_once(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    intent = _intent(sandbox, customer=customer, payment_method="pm_card_visa", confirm="true", description="Card")
    assert (intent["status"], intent["customer"], intent["description"]) == ("succeeded", customer, "Card")
    assert sandbox.get(f"/v1/payment_methods/{intent['payment_method']}")["customer"] == customer
    assert sandbox.event_types()[-3:] == ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]


def test_a_card_is_given_and_confirmed_later(sandbox: Driver) -> None:
    intent = _intent(sandbox)
    assert intent["status"] == "requires_payment_method"
    assert sandbox.error("POST", f"/v1/setup_intents/{intent['id']}/confirm")[1]["param"] == "payment_method"
    given = sandbox.post(f"/v1/setup_intents/{intent['id']}", {"payment_method": "pm_card_visa", "metadata[a]": "b"})
    assert (given["status"], given["metadata"]) == ("requires_confirmation", {"a": "b"})
    done = sandbox.post(f"/v1/setup_intents/{intent['id']}/confirm")
    assert (done["status"], done["customer"]) == ("succeeded", None)


def test_a_card_that_the_bank_does_not_let_be_saved(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    sent = {"customer": customer, "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    status, error = sandbox.error("POST", "/v1/setup_intents", sent)
    assert (status, error["code"]) == (402, "card_declined")
    assert sandbox.event_types()[-1] == "setup_intent.setup_failed"
    (intent,) = sandbox.get("/v1/setup_intents", customer=customer)["data"]
    assert (intent["status"], intent["last_setup_error"]["code"]) == ("requires_payment_method", "card_declined")


def test_a_bank_that_asks_who_is_paying_is_for_the_pages(sandbox: Driver) -> None:
    sent = {"payment_method": "pm_card_authenticationRequired"}
    assert sandbox.error("POST", "/v1/setup_intents", sent)[1]["param"] == "payment_method"
    assert sandbox.get("/v1/setup_intents")["data"] == []


@pytest.mark.parametrize("act", ["", "/confirm", "/cancel"])
def test_what_is_over_stays_so(sandbox: Driver, act: str) -> None:
    intent = _intent(sandbox)
    canceled = sandbox.post(f"/v1/setup_intents/{intent['id']}/cancel", {"cancellation_reason": "abandoned"})
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")
    assert sandbox.event_types()[-1] == "setup_intent.canceled"
    error = sandbox.error("POST", f"/v1/setup_intents/{intent['id']}{act}")[1]
    assert error["code"] == "setup_intent_unexpected_state"
