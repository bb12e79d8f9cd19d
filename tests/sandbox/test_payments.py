"""Payment methods, payment intents, charges."""

import pytest

from tests.sandbox.driving import Driver, Json


@pytest.fixture
def customer(sandbox: Driver) -> Json:
    return sandbox.post("/v1/customers", {"email": "a@b.co"})


def test_attaching_and_detaching(sandbox: Driver, customer: Json) -> None:
    card = sandbox.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]})
    assert (card["customer"], card["card"]["last4"]) == (customer["id"], "4242")
    path = f"/v1/payment_methods/{card['id']}"
    sandbox.post(f"/v1/customers/{customer['id']}", {"invoice_settings[default_payment_method]": card["id"]})
    assert sandbox.get(f"/v1/customers/{customer['id']}/payment_methods", type="card")["data"] == [card]
    detached = sandbox.post(f"{path}/detach")
    assert detached["customer"] is None
    after = sandbox.get(f"/v1/customers/{customer['id']}")
    assert after["invoice_settings"]["default_payment_method"] is None
    assert sandbox.error("POST", f"{path}/attach", {"customer": customer["id"]})[0] == 400
    assert sandbox.error("POST", f"{path}/detach")[0] == 400


def test_a_card_of_somebody_else(sandbox: Driver, customer: Json) -> None:
    card = sandbox.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]})["id"]
    other = sandbox.post("/v1/customers")["id"]
    assert sandbox.error("POST", f"/v1/payment_methods/{card}/attach", {"customer": other})[0] == 400
    setting = {"invoice_settings[default_payment_method]": card}
    assert sandbox.error("POST", f"/v1/customers/{other}", setting)[0] == 400
    assert sandbox.error("GET", f"/v1/customers/{other}/payment_methods/{card}")[0] == 404
    order = {"amount": 500, "currency": "usd", "payment_method": card}
    assert sandbox.error("POST", "/v1/payment_intents", order)[0] == 400


def test_a_card_the_bank_will_not_have_saved(sandbox: Driver, customer: Json) -> None:
    status, error = sandbox.error(
        "POST", "/v1/payment_methods/pm_card_chargeDeclined/attach", {"customer": customer["id"]}
    )
    assert (status, error["code"], error["decline_code"]) == (402, "card_declined", "generic_decline")
    assert sandbox.get("/v1/payment_methods", customer=customer["id"])["data"] == []


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"card[number]": "5555555555554444", "card[exp_month]": "12", "card[exp_year]": "2040"}, 200, None),
        ({"card[token]": "tok_amex"}, 200, None),
        ({"card[token]": "tok_no"}, 400, "resource_missing"),
        ({"card[number]": "5555555555554444"}, 400, "parameter_missing"),
        (
            {"card[number]": "5555555555554443", "card[exp_month]": "12", "card[exp_year]": "2040"},
            402,
            "incorrect_number",
        ),
        ({"card[number]": "4012888888881881", "card[exp_month]": "12", "card[exp_year]": "2040"}, 402, "card_declined"),
    ],
)
def test_making_cards(sandbox: Driver, data: dict[str, str], status: int, code: str | None) -> None:
    response = sandbox.send("POST", "/v1/payment_methods", {"type": "card"} | data)
    assert response.status_code == status
    if code:
        assert response.get_json()["error"]["code"] == code


def test_charging_off_session(sandbox: Driver, customer: Json) -> None:
    card = sandbox.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]})["id"]
    order = {
        "amount": 1800,
        "currency": "usd",
        "customer": customer["id"],
        "payment_method": card,
        "confirm": "true",
        "off_session": "true",
        "metadata[intent]": "pi_1",
    }
    intent = sandbox.post("/v1/payment_intents", order, Idempotency_Key="topup-1")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 1800)
    charge = sandbox.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["status"], charge["metadata"]) == ("succeeded", {"intent": "pi_1"})
    last = sandbox.events()[-3:]
    assert [event["type"] for event in last] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    assert all(event["request"]["idempotency_key"] == "topup-1" for event in last)
    assert sandbox.get("/v1/payment_intents", customer=customer["id"])["data"] == [intent]


def test_a_declined_charge_stays_on_record(sandbox: Driver, customer: Json) -> None:
    card = sandbox.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": customer["id"]})["id"]
    order = {"amount": 1800, "currency": "usd", "customer": customer["id"], "payment_method": card, "confirm": "true"}
    status, error = sandbox.error("POST", "/v1/payment_intents", order)
    assert (status, error["type"], error["code"], error["decline_code"]) == (
        402,
        "card_error",
        "card_declined",
        "generic_decline",
    )
    intent = sandbox.get(f"/v1/payment_intents/{error['payment_intent']['id']}")
    assert (intent["status"], intent["latest_charge"]) == ("requires_payment_method", error["charge"])
    assert intent["last_payment_error"]["payment_method"]["id"] == card
    assert sandbox.get(f"/v1/charges/{error['charge']}")["status"] == "failed"
    assert sandbox.event_types()[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    paid = sandbox.post(f"/v1/payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_visa"})
    assert (paid["status"], paid["last_payment_error"]) == ("succeeded", None)


def test_an_intents_life(sandbox: Driver) -> None:
    intent = sandbox.post("/v1/payment_intents", {"amount": 500, "currency": "USD"})
    path = f"/v1/payment_intents/{intent['id']}"
    assert (intent["status"], intent["currency"]) == ("requires_payment_method", "usd")
    assert sandbox.error("POST", f"{path}/confirm")[1]["code"] == "parameter_missing"
    assert sandbox.post(path, {"payment_method": "pm_card_visa"})["status"] == "requires_confirmation"
    assert sandbox.post(f"{path}/confirm")["status"] == "succeeded"
    for verb in ("confirm", "cancel"):
        assert sandbox.error("POST", f"{path}/{verb}")[1]["code"] == "payment_intent_unexpected_state"
    assert sandbox.error("POST", path, {"amount": 600})[0] == 400
    assert sandbox.post(path, {"metadata[a]": "1"})["metadata"] == {"a": "1"}
    other = sandbox.post("/v1/payment_intents", {"amount": 500, "currency": "usd"})["id"]
    canceled = sandbox.post(f"/v1/payment_intents/{other}/cancel", {"cancellation_reason": "abandoned"})
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")


@pytest.mark.parametrize("amount", ["0", "49", "-5", "100000000", "12.5", ""])
def test_amounts(sandbox: Driver, amount: str) -> None:
    assert sandbox.error("POST", "/v1/payment_intents", {"amount": amount, "currency": "usd"})[1]["param"] == "amount"


def test_the_balance_is_what_was_charged(sandbox: Driver) -> None:
    sandbox.post(
        "/v1/payment_intents",
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"},
    )
    assert sandbox.get("/v1/balance")["pending"] == [{"amount": 500, "currency": "usd", "source_types": {"card": 500}}]
    assert sandbox.get("/v1/account")["charges_enabled"] is True
