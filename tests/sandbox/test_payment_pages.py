"""Paying a Checkout Session without its page, as Stripe's own command line does."""

from tests.sandbox.driving import Driver, Json


def _card(sandbox: Driver, token: str = "tok_visa") -> str:
    sent = {"type": "card", "card[token]": token, "billing_details[email]": "buyer@example.com"}
    return str(sandbox.post("/v1/payment_methods", sent)["id"])


def _sale(sandbox: Driver) -> Json:
    to = "payment_intent_data[shipping]"
    shipping = {f"{to}[name]": "Ada Buyer", f"{to}[address][line1]": "1 Quay", f"{to}[address][country]": "US"}
    return sandbox.session(sandbox.price(1500, interval=None), mode="payment", **shipping)


def test_a_session_is_paid_once(sandbox: Driver) -> None:
    session = _sale(sandbox)
    page = f"/v1/payment_pages/{session['id']}"
    assert sandbox.get(page)["amount_total"] == 1500
    paid = sandbox.post(page + "/confirm", {"payment_method": _card(sandbox), "expected_amount": 1500})
    assert (paid["status"], paid["payment_status"]) == ("complete", "paid")
    assert paid["customer_details"]["email"] == "buyer@example.com"
    intent = sandbox.get(f"/v1/payment_intents/{paid['payment_intent']}")
    assert intent["shipping"]["name"] == "Ada Buyer"
    assert sandbox.event_types()[-1] == "checkout.session.completed"
    assert sandbox.error("POST", page + "/confirm", {"payment_method": _card(sandbox)})[0] == 400
    assert len(sandbox.get("/v1/charges")["data"]) == 1


def test_another_amount_or_a_refused_card_completes_nothing(sandbox: Driver) -> None:
    page = f"/v1/payment_pages/{_sale(sandbox)['id']}"
    wrong = {"payment_method": _card(sandbox), "expected_amount": 1400}
    assert sandbox.error("POST", page + "/confirm", wrong)[1]["param"] == "expected_amount"
    declined = {"payment_method": _card(sandbox, "tok_chargeDeclined")}
    assert sandbox.error("POST", page + "/confirm", declined)[0] == 402
    asks = {"payment_method": _card(sandbox, "tok_authenticationRequired")}
    assert sandbox.error("POST", page + "/confirm", asks)[1]["param"] == "payment_method"
    assert sandbox.get(page)["status"] == "open"
