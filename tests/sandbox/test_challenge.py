"""3-D Secure: the bank asks who is paying, and only then anything comes into being."""

import pytest

from tests.sandbox.driving import GOOD_CARD, Driver, Json

ONCE = GOOD_CARD | {"card_number": "4000 0025 0000 3155"}
ALWAYS = GOOD_CARD | {"card_number": "4000 0027 6000 3184"}
DECLINED_AFTERWARDS = GOOD_CARD | {"card_number": "4000 0084 0000 1629"}
MODES = ("subscription", "payment")


@pytest.fixture
def customer(sandbox: Driver) -> Json:
    return sandbox.post("/v1/customers", {"email": "ada@example.com"})


def begin(sandbox: Driver, customer: Json, mode: str, card: Json) -> Json:
    """A session whose payer has been sent to the bank's page."""
    price = sandbox.price(1800, interval="month" if mode == "subscription" else None)
    session = sandbox.session(price, mode=mode, customer=customer["id"])
    answer = sandbox.pay(session, card)
    assert answer.status_code == 303
    assert answer.headers["Location"].endswith(f"/c/pay/{session['id']}/authenticate")
    return session


def answer(sandbox: Driver, session: Json, what: str) -> str:
    response = sandbox.client.post(f"/c/pay/{session['id']}/authenticate", data={"answer": what})
    assert response.status_code == 303
    return str(response.headers["Location"])


@pytest.mark.parametrize("card", [ONCE, ALWAYS], ids=["once", "always"])
@pytest.mark.parametrize("mode", MODES)
def test_an_answered_challenge_pays_as_any_card_does(sandbox: Driver, customer: Json, mode: str, card: Json) -> None:
    session = begin(sandbox, customer, mode, card)
    waiting = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (waiting["status"], waiting["payment_status"], waiting["subscription"]) == ("open", "unpaid", None)
    page = sandbox.client.get(f"/c/pay/{session['id']}/authenticate")
    assert b"Is it you?" in page.data
    assert answer(sandbox, session, "complete").startswith("http://127.0.0.1:9/return")
    paid = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (paid["status"], paid["payment_status"]) == ("complete", "paid")
    assert sandbox.event_types().count("charge.succeeded") == 1
    # Answered twice, or looked at again: it leads on and pays nothing more.
    assert answer(sandbox, session, "complete").startswith("http://127.0.0.1:9/return")
    assert sandbox.event_types().count("charge.succeeded") == 1


def test_a_purchase_waits_as_an_intent_that_requires_action(sandbox: Driver, customer: Json) -> None:
    session = begin(sandbox, customer, "payment", ONCE)
    intent_id = sandbox.get(f"/v1/checkout/sessions/{session['id']}")["payment_intent"]
    intent = sandbox.get(f"/v1/payment_intents/{intent_id}")
    assert intent["status"] == "requires_action"
    assert intent["next_action"]["type"] == "redirect_to_url"
    assert "payment_intent.requires_action" in sandbox.event_types()
    answer(sandbox, session, "complete")
    assert sandbox.get(f"/v1/payment_intents/{intent_id}")["next_action"] is None


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_challenge_charges_nothing_and_lets_another_card_be_tried(
    sandbox: Driver, customer: Json, mode: str
) -> None:
    session = begin(sandbox, customer, mode, ONCE)
    assert answer(sandbox, session, "fail").endswith(f"/c/pay/{session['id']}")
    page = sandbox.client.get(f"/c/pay/{session['id']}")
    assert b"We are unable to authenticate your payment method" in page.data
    assert "charge" not in sandbox.count()
    assert "subscription" not in sandbox.count()
    if mode == "payment":
        intent_id = sandbox.get(f"/v1/checkout/sessions/{session['id']}")["payment_intent"]
        error = sandbox.get(f"/v1/payment_intents/{intent_id}")["last_payment_error"]
        assert error["code"] == "payment_intent_authentication_failure"
        assert "payment_intent.payment_failed" in sandbox.event_types()
    assert sandbox.paid(session)["status"] == "complete"


@pytest.mark.parametrize("mode", MODES)
def test_a_bank_may_refuse_after_the_challenge(sandbox: Driver, customer: Json, mode: str) -> None:
    session = begin(sandbox, customer, mode, DECLINED_AFTERWARDS)
    assert answer(sandbox, session, "complete").endswith(f"/c/pay/{session['id']}")
    assert b"Your card was declined." in sandbox.client.get(f"/c/pay/{session['id']}").data
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["status"] == "open"


def test_nobody_waiting_is_led_back_and_an_unknown_page_is_not_there(sandbox: Driver, customer: Json) -> None:
    session = sandbox.session(customer=customer["id"])
    assert answer(sandbox, session, "complete").endswith(f"/c/pay/{session['id']}")
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["status"] == "open"
    assert sandbox.client.get("/c/pay/cs_test_none/authenticate").status_code == 404


def off_session(sandbox: Driver, customer: Json, card_id: str) -> tuple[int, Json]:
    method = sandbox.post(f"/v1/payment_methods/{card_id}/attach", {"customer": customer["id"]})
    data = {
        "amount": 1800, "currency": "usd", "customer": customer["id"], "payment_method": method["id"],
        "confirm": "true", "off_session": "true",
    }  # fmt: skip
    response = sandbox.send("POST", "/v1/payment_intents", data)
    return response.status_code, dict(response.get_json())


def test_a_bank_that_always_asks_refuses_when_nobody_is_there(sandbox: Driver, customer: Json) -> None:
    status, body = off_session(sandbox, customer, "pm_card_authenticationRequired")
    assert (status, body["error"]["code"]) == (402, "authentication_required")
    assert body["error"]["decline_code"] == "authentication_required"
    assert body["error"]["payment_intent"]["status"] == "requires_payment_method"


def test_a_card_that_was_saved_with_a_challenge_is_not_asked_again(sandbox: Driver, customer: Json) -> None:
    status, body = off_session(sandbox, customer, "pm_card_authenticationRequiredOnSetup")
    assert (status, body["status"]) == (200, "succeeded")
