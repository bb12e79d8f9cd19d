"""SEPA direct debits: taken at once, and paid, or not, when the bank has had its time."""

import pytest

from portal.sandbox.debits import BY_IBAN, is_iban
from tests.sandbox.driving import Driver, Json

NOW, LATER = "AT611904300234573201", "AT321904300235473204"
FAILS, FAILS_LATER = "IT60X0542811101000000123456", "AT051904300235473205"


def _sale(sandbox: Driver, **more: str | int) -> Json:
    price = sandbox.price(1500, interval=None, currency="eur")
    return sandbox.session(price, mode="payment", **more)


def _debit(sandbox: Driver, session: Json, iban: str = LATER) -> Json:
    answer = sandbox.pay(session, pay_with="sepa_debit", iban=iban, account_holder="Ada Buyer")
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return sandbox.get(f"/v1/checkout/sessions/{session['id']}")


def _types_since(sandbox: Driver, first: str) -> list[str]:
    types = sandbox.event_types()
    return types[types.index(first) :]


def test_the_page_offers_a_debit_for_what_is_bought_once_in_euros(sandbox: Driver) -> None:
    session = _sale(sandbox)
    assert session["payment_method_types"] == ["card", "sepa_debit"]
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    for words in ("Or by SEPA direct debit", "Test accounts", LATER[:4], "Card number"):
        assert words in page
    cards_only = [
        sandbox.session(),
        sandbox.session(sandbox.price(currency="eur")),
        _sale(sandbox, **{"allowed_payment_method_types[0]": "card"}),
    ]
    for other in cards_only:
        assert other["payment_method_types"] == ["card"]
        assert "direct debit" not in sandbox.client.get(f"/c/pay/{other['id']}").get_data(as_text=True)
    assert sandbox.pay(cards_only[0], pay_with="sepa_debit", iban=NOW, account_holder="A").status_code == 303
    assert sandbox.get("/v1/charges")["data"][0]["payment_method_details"]["type"] == "card"


def test_a_page_for_debits_only_asks_for_no_card(sandbox: Driver) -> None:
    session = _sale(sandbox, **{"payment_method_types[0]": "sepa_debit"})
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    assert "SEPA direct debit" in page
    assert "Card number" not in page
    assert _debit(sandbox, session)["payment_status"] == "unpaid"


@pytest.mark.parametrize("names", [["ideal"], ["sepa_debit"]])
def test_what_cannot_pay_a_session_is_refused(sandbox: Driver, names: list[str]) -> None:
    sent = {f"allowed_payment_method_types[{n}]": name for n, name in enumerate(names)}
    price = sandbox.price(interval=None)["id"]
    order = {
        "mode": "payment",
        "line_items[0][price]": price,
        "line_items[0][quantity]": 1,
        "success_url": "http://a.b",
    }
    status, error = sandbox.error("POST", "/v1/checkout/sessions", order | sent)
    assert (status, error["param"]) == (400, "allowed_payment_method_types")


def test_the_bank_pays_after_its_time(sandbox: Driver) -> None:
    done = _debit(sandbox, _sale(sandbox, **{"invoice_creation[enabled]": "true"}))
    assert (done["status"], done["payment_status"], done["invoice"]) == ("complete", "unpaid", None)
    intent = sandbox.get(f"/v1/payment_intents/{done['payment_intent']}")
    assert (intent["status"], intent["amount_received"]) == ("processing", 0)
    charge = sandbox.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["status"], charge["paid"], charge["receipt_url"]) == ("pending", False, None)
    assert _types_since(sandbox, "payment_intent.created")[-4:] == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "checkout.session.completed",
    ]
    assert sandbox.error("POST", "/v1/refunds", {"charge": charge["id"]})[1]["message"].startswith("The charge is pend")
    assert sandbox.error("POST", f"/v1/payment_intents/{intent['id']}/cancel")[0] == 400

    sandbox.pass_seconds(179)
    assert sandbox.get(f"/v1/charges/{charge['id']}")["status"] == "pending"
    sandbox.pass_seconds(1)
    types = _types_since(sandbox, "checkout.session.completed")
    assert types[1:3] == ["charge.succeeded", "payment_intent.succeeded"]
    assert types[-1] == "checkout.session.async_payment_succeeded"
    paid = sandbox.get(f"/v1/checkout/sessions/{done['id']}")
    assert paid["payment_status"] == "paid"
    assert sandbox.get(f"/v1/invoices/{paid['invoice']}")["status"] == "paid"
    charge = sandbox.get(f"/v1/charges/{charge['id']}")
    assert (charge["status"], charge["paid"]) == ("succeeded", True)
    receipt = sandbox.client.get(f"/r/{charge['id']}").get_data(as_text=True)
    assert "from an account ending in 3204" in receipt
    assert sandbox.post("/v1/refunds", {"charge": charge["id"]})["status"] == "succeeded"


@pytest.mark.parametrize(("iban", "seconds"), [(FAILS, 0), (FAILS_LATER, 180)])
def test_the_bank_does_not_pay(sandbox: Driver, iban: str, seconds: int) -> None:
    done = _debit(sandbox, _sale(sandbox, **{"invoice_creation[enabled]": "true"}), iban)
    sandbox.pass_seconds(seconds)
    assert _types_since(sandbox, "checkout.session.completed") == [
        "checkout.session.completed",
        "charge.failed",
        "payment_intent.payment_failed",
        "checkout.session.async_payment_failed",
    ]
    session = sandbox.get(f"/v1/checkout/sessions/{done['id']}")
    assert (session["status"], session["payment_status"], session["invoice"]) == ("complete", "unpaid", None)
    intent = sandbox.get(f"/v1/payment_intents/{done['payment_intent']}")
    assert (intent["status"], intent["last_payment_error"]["code"]) == ("requires_payment_method", "insufficient_funds")
    charge = sandbox.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["status"], charge["captured"], charge["amount_captured"]) == ("failed", False, 0)
    sandbox.pass_by(1)
    assert sandbox.event_types().count("charge.failed") == 1


def test_a_discount_stands_on_the_invoice_that_comes_later(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 20, "duration": "once"})["id"]
    sale = _sale(sandbox, **{"discounts[0][coupon]": coupon, "invoice_creation[enabled]": "true"})
    done = _debit(sandbox, sale, NOW)
    invoice = sandbox.get(f"/v1/invoices/{sandbox.get('/v1/checkout/sessions/' + done['id'])['invoice']}")
    assert (invoice["total"], invoice["total_discount_amounts"][0]["amount"]) == (1200, 300)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"iban": ""}, "Enter an IBAN."),
        ({"iban": "AT611904300234573202"}, "This IBAN is not complete or not valid."),
        ({"iban": "DE02120300000000202051"}, "This sandbox takes test accounts only."),
        ({"iban": NOW, "account_holder": ""}, "Enter the name of the account"),
    ],
)
def test_what_is_wrong_with_an_account_is_said(sandbox: Driver, fields: dict[str, str], words: str) -> None:
    session = _sale(sandbox)
    answer = sandbox.pay(session, {"pay_with": "sepa_debit", "account_holder": "Ada"} | fields)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["status"] == "open"


def _account(sandbox: Driver, iban: str = NOW) -> str:
    billing = {"billing_details[name]": "Ada", "billing_details[email]": "a@b.co"}
    made = sandbox.post("/v1/payment_methods", {"type": "sepa_debit", "sepa_debit[iban]": iban} | billing)
    assert (made["sepa_debit"]["country"], made["sepa_debit"]["last4"]) == (iban[:2], iban[-4:])
    assert "card" not in made
    return str(made["id"])


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"type": "sepa_debit"}, "sepa_debit"),
        ({"type": "card", "sepa_debit[iban]": NOW}, "card"),
        ({"type": "sepa_debit", "sepa_debit[iban]": NOW, "card[token]": "tok_visa"}, "card"),
        ({"type": "sepa_debit", "sepa_debit[iban]": NOW}, "billing_details[email]"),
        ({"type": "sepa_debit", "sepa_debit[iban]": "AT00"}, "sepa_debit[iban]"),
    ],
)
def test_what_makes_no_payment_method_is_refused(sandbox: Driver, sent: Json, param: str) -> None:
    status, error = sandbox.error("POST", "/v1/payment_methods", sent)
    assert (status, error["param"]) == (400, param)


def test_an_intent_is_paid_by_debit(sandbox: Driver) -> None:
    order = {"amount": 900, "currency": "eur", "payment_method": _account(sandbox), "confirm": "true"}
    intent = sandbox.post("/v1/payment_intents", order)
    assert intent["status"] == "processing"
    assert sandbox.get(f"/v1/payment_intents/{intent['id']}")["status"] == "succeeded"
    status, error = sandbox.error("POST", "/v1/payment_intents", order | {"currency": "usd"})
    assert (status, error["code"]) == (400, "payment_intent_incompatible_payment_method")
    waiting = sandbox.post("/v1/payment_intents", {"amount": 900, "currency": "eur"})["id"]
    sandbox.post(f"/v1/payment_intents/{waiting}", {"currency": "usd"})
    confirm = f"/v1/payment_intents/{waiting}/confirm"
    assert sandbox.error("POST", confirm, {"payment_method": _account(sandbox)})[1]["code"] == error["code"]


def test_a_debit_pays_nothing_that_comes_again(sandbox: Driver) -> None:
    """Rather than a subscription that seems to be paid, an error."""
    known = sandbox.begin(sandbox.price(currency="eur"))
    account = sandbox.post(f"/v1/payment_methods/{_account(sandbox)}/attach", {"customer": known["customer"]})["id"]
    customer, subscription = f"/v1/customers/{known['customer']}", f"/v1/subscriptions/{known['id']}"
    for path, name in (
        (customer, "invoice_settings[default_payment_method]"),
        (subscription, "default_payment_method"),
    ):
        status, error = sandbox.error("POST", path, {name: account})
        assert (status, error["param"]) == (400, name)
    for path in ("/v1/setup_intents", "/v1/payment_intents"):
        of_invoice = {} if path == "/v1/setup_intents" else {"amount": 500, "currency": "usd", "confirm": "true"}
        assert sandbox.error("POST", path, {"payment_method": _account(sandbox)} | of_invoice)[0] == 400
    assert [one["type"] for one in sandbox.get(customer + "/payment_methods")["data"]] == ["sepa_debit", "card"]


def test_the_test_accounts_are_valid_numbers() -> None:
    assert all(is_iban(iban) for iban in BY_IBAN)


def test_the_bank_pays_for_a_customer_who_is_deleted_by_then(sandbox: Driver) -> None:
    sale = _sale(sandbox, customer=sandbox.post("/v1/customers")["id"], **{"invoice_creation[enabled]": "true"})
    done = _debit(sandbox, sale)
    sandbox.call("DELETE", f"/v1/customers/{done['customer']}")
    sandbox.pass_seconds(180)
    paid = sandbox.get(f"/v1/checkout/sessions/{done['id']}")
    assert (paid["payment_status"], paid["invoice"]) == ("paid", None)
    assert sandbox.event_types()[-1] == "checkout.session.async_payment_succeeded"
