"""What comparing with real test-mode bodies has shown: members that Stripe fills and tutorials do not tell of."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox.driving import Driver, Json


def test_a_customer_tells_of_tax_and_of_credit_when_asked(sandbox: Driver) -> None:
    asked = {"expand[0]": "tax", "expand[1]": "invoice_credit_balance"}
    nowhere = sandbox.post("/v1/customers", asked)
    assert nowhere["tax"] == {
        "automatic_tax": "unrecognized_location",
        "ip_address": None,
        "location": None,
        "provider": "stripe",
    }
    assert nowhere["invoice_credit_balance"] == {}
    assert "tax" not in sandbox.get(f"/v1/customers/{nowhere['id']}")
    begun = sandbox.begin()
    sandbox.post(f"/v1/customers/{begun['customer']}", {"balance": -300})
    credited = sandbox.get(f"/v1/customers/{begun['customer']}", **asked)
    assert credited["invoice_credit_balance"] == {"usd": 300}


@pytest.mark.parametrize(
    ("address", "status", "source"),
    [
        ({"address[country]": "DE"}, "supported", "billing_address"),
        ({"address[country]": "BR"}, "not_collecting", "billing_address"),
        ({"address[country]": "US"}, "unrecognized_location", None),
        ({"address[country]": "US", "address[state]": "NY"}, "supported", "billing_address"),
        (
            {"address[country]": "BR", "shipping[name]": "A", "shipping[address][country]": "AT"},
            "supported",
            "shipping_destination",
        ),
    ],
)
def test_where_a_customer_is_decides_whether_tax_is_collected(
    sandbox: Driver, address: dict[str, str], status: str, source: str | None
) -> None:
    told = sandbox.post("/v1/customers", address | {"expand[0]": "tax"})["tax"]
    assert (told["automatic_tax"], (told["location"] or {}).get("source")) == (status, source)


def _charge(sandbox: Driver, card: str = "pm_card_visa") -> Json:
    order = {"amount": 900, "currency": "usd", "payment_method": card, "confirm": "true", "expand[0]": "latest_charge"}
    return dict(sandbox.post("/v1/payment_intents", order)["latest_charge"])


def test_a_charge_tells_what_bank_and_network_call_it(sandbox: Driver) -> None:
    card = _charge(sandbox)["payment_method_details"]["card"]
    assert card["authorization_code"].isdigit()
    assert card["network_transaction_id"].isdigit()


def test_refunds_are_counted_and_their_book_entries_asked_for(sandbox: Driver) -> None:
    charge = _charge(sandbox)["id"]
    sandbox.post("/v1/refunds", {"charge": charge, "amount": 300})
    refunds = sandbox.get(f"/v1/charges/{charge}", **{"expand[0]": "refunds.data.balance_transaction"})["refunds"]
    assert (refunds["total_count"], refunds["data"][0]["amount"]) == (1, 300)


@pytest.mark.parametrize(
    ("card", "country"),
    [("visa", "US"), ("authenticationRequired", "DE"), ("authenticationRequiredOnSetup", "FR")],
)
def test_a_card_comes_from_where_its_number_says(sandbox: Driver, card: str, country: str) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    attached = sandbox.post(f"/v1/payment_methods/pm_card_{card}/attach", {"customer": customer})
    assert attached["card"]["country"] == country


def test_what_is_missing_is_said_in_stripes_words(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"]}
    status, error = sandbox.error("POST", "/v1/subscriptions", order)
    assert (status, error["code"], "param" in error) == (400, "resource_missing", False)
    status, error = sandbox.error("POST", "/v1/payment_methods/abcd/attach", {"customer": customer})
    assert (status, error["code"], error["param"]) == (404, "resource_missing", "payment_method")


def test_a_discount_is_a_credit_before_tax(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 10, "duration": "forever"})["id"]
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(2500), **{"discounts[0][coupon]": coupon}))
    credit = {"amount": 250, "discount": invoice["discounts"][0], "type": "discount"}
    assert invoice["total_pretax_credit_amounts"] == [credit]
    assert invoice["lines"]["data"][0]["pretax_credit_amounts"] == [credit]


def test_a_session_tells_how_it_looks_and_what_it_has_collected(sandbox: Driver) -> None:
    session = sandbox.session(customer=sandbox.post("/v1/customers")["id"])
    assert session["branding_settings"]["display_name"]
    assert session["collected_information"] == {
        "business_name": None,
        "individual_name": None,
        "shipping_details": None,
    }
    assert session["saved_payment_method_options"]["payment_method_remove"] == "disabled"
    assert session["adaptive_pricing"] == {"enabled": False}


@pytest.mark.parametrize(("country", "paper"), [("US", "letter"), ("DE", "a4")])
def test_an_invoice_by_hand_is_printed_on_the_paper_of_the_country(sandbox: Driver, country: str, paper: str) -> None:
    customer = sandbox.post("/v1/customers", {"address[country]": country})["id"]
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 500, "currency": "usd"})
    drafted = sandbox.post("/v1/invoices", {"customer": customer, "pending_invoice_items_behavior": "include"})
    assert drafted["rendering"]["pdf"] == {"page_size": "auto"}
    final = sandbox.post(f"/v1/invoices/{drafted['id']}/finalize")
    assert final["rendering"]["pdf"] == {"page_size": paper}
    assert sandbox.latest_invoice(sandbox.begin())["rendering"] is None


def _asked(sandbox: Driver, **more: str) -> Json:
    customer = sandbox.post("/v1/customers")["id"]
    order = {
        "amount": 900,
        "currency": "usd",
        "customer": customer,
        "payment_method": "pm_card_authenticationRequired",
        "setup_future_usage": "off_session",
        "confirm": "true",
    }
    return sandbox.post("/v1/payment_intents", order | more)


def _answer(sandbox: Driver, intent: Json, answer: str) -> tuple[int, str | None]:
    page = urlsplit(intent["next_action"]["redirect_to_url"]["url"]).path
    assert "$9.00" in sandbox.client.get(page).get_data(as_text=True)
    said = sandbox.client.post(page, data={"answer": answer})
    return said.status_code, said.headers.get("Location")


@pytest.mark.parametrize(("answer", "status"), [("complete", "succeeded"), ("fail", "requires_payment_method")])
def test_a_bank_that_asks_is_answered_before_an_intent_is_paid(sandbox: Driver, answer: str, status: str) -> None:
    intent = _asked(sandbox, return_url="http://127.0.0.1:9/back?order=1")
    assert (intent["status"], intent["latest_charge"]) == ("requires_action", None)
    code, location = _answer(sandbox, intent, answer)
    assert code == 303
    back = parse_qs(urlsplit(location or "").query)
    assert back["order"] == ["1"]
    assert back["payment_intent"] == [intent["id"]]
    assert back["redirect_status"] == ["succeeded" if answer == "complete" else "failed"]
    assert sandbox.get(f"/v1/payment_intents/{intent['id']}")["status"] == status
    saved = sandbox.get(f"/v1/customers/{intent['customer']}/payment_methods")["data"]
    assert len(saved) == (1 if answer == "complete" else 0)
    page = urlsplit(intent["next_action"]["redirect_to_url"]["url"]).path
    assert sandbox.client.post(page, data={"answer": "complete"}).status_code == 404


@pytest.mark.parametrize(("answer", "status"), [("complete", 200), ("fail", 402)])
def test_without_an_address_to_go_back_to_the_page_says_how_it_ended(sandbox: Driver, answer: str, status: int) -> None:
    assert _answer(sandbox, _asked(sandbox), answer) == (status, None)


def test_whoever_cannot_ask_is_refused(sandbox: Driver) -> None:
    order = {"amount": 900, "currency": "usd", "payment_method": "pm_card_authenticationRequired", "confirm": "true"}
    status, error = sandbox.error("POST", "/v1/payment_intents", order | {"error_on_requires_action": "true"})
    assert (status, error["code"]) == (402, "authentication_required")


def test_the_intent_of_an_invoice_is_asked_for_on_the_page_of_the_invoice(sandbox: Driver) -> None:
    begun = sandbox.begin(payment_behavior="default_incomplete")
    payment = sandbox.get("/v1/invoice_payments", invoice=begun["latest_invoice"])["data"][0]["payment"]
    card = sandbox.card(begun, "pm_card_authenticationRequired")
    path = f"/v1/payment_intents/{payment['payment_intent']}/confirm"
    intent = sandbox.post(path, {"payment_method": card})
    page = urlsplit(intent["next_action"]["redirect_to_url"]["url"]).path
    assert page == f"/i/{begun['latest_invoice']}/authenticate"
    assert sandbox.client.post(page, data={"answer": "complete"}).status_code == 303
    assert sandbox.subscription(begun)["status"] == "active"
