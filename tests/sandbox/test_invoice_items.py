"""What waits for a customer's next invoice, what a balance does to that, and invoices that are never paid."""

import pytest

from tests.sandbox.driving import Driver, Json


@pytest.fixture
def begun(sandbox: Driver) -> Json:
    return sandbox.begin()


def test_what_waits_stands_on_the_next_invoice(sandbox: Driver, begun: Json) -> None:
    once = sandbox.price(500, interval=None, name="Set-up")["id"]
    by_price = {"customer": begun["customer"], "pricing[price]": once, "quantity": 2}
    first = sandbox.post("/v1/invoiceitems", by_price)
    second = sandbox.post(
        "/v1/invoiceitems",
        {"customer": begun["customer"], "amount": -300, "currency": "usd", "subscription": begun["id"]},
    )
    assert (first["amount"], first["description"], second["amount"]) == (1000, "Set-up", -300)
    assert len(sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"]) == 2
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert [line["amount"] for line in invoice["lines"]["data"]] == [1000, -300, 2900]
    assert invoice["amount_paid"] == 3600
    assert sandbox.get(f"/v1/invoiceitems/{first['id']}")["invoice"] == invoice["id"]
    assert sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"] == []
    assert sandbox.error("DELETE", f"/v1/invoiceitems/{first['id']}")[0] == 400


def test_what_waits_for_another_subscription_stays(sandbox: Driver, begun: Json) -> None:
    price = sandbox.price(1000)["id"]
    other = sandbox.post(
        "/v1/subscriptions",
        {
            "customer": begun["customer"],
            "items[0][price]": price,
            "default_payment_method": begun["default_payment_method"],
            "trial_period_days": 90,
        },
    )
    item = {"customer": begun["customer"], "amount": 700, "currency": "usd", "subscription": other["id"]}
    waiting = sandbox.post("/v1/invoiceitems", item)
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["total"] == 2900
    assert sandbox.call("DELETE", f"/v1/invoiceitems/{waiting['id']}")["deleted"] is True
    assert sandbox.event_types()[-1] == "invoiceitem.deleted"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({}, "amount"),
        ({"amount": 5, "pricing[price]": "price_x"}, "amount"),
        ({"pricing[price]": "price_x"}, "pricing[price]"),
        ({"amount": 5, "currency": "eur", "subscription": True}, "currency"),
        ({"amount": 5, "period[start]": 9, "period[end]": 8}, "period[end]"),
        ({"amount": 5, "quantity": 2}, "quantity"),
    ],
)
def test_what_cannot_wait(sandbox: Driver, begun: Json, sent: Json, param: str) -> None:
    if "subscription" in sent:
        sent = sent | {"subscription": begun["id"]}
    status, error = sandbox.error("POST", "/v1/invoiceitems", {"customer": begun["customer"]} | sent)
    assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("balance", "waiting", "due", "left"),
    [
        (0, 0, 2900, 0),
        (-1000, 0, 1900, 0),
        (-5000, 0, 0, -2100),
        (700, 0, 3600, 0),
        (-2870, 0, 0, 30),
        (0, -4000, 0, -1100),
        (-100, -4000, 0, -1200),
    ],
)
def test_a_balance_pays_first(sandbox: Driver, begun: Json, balance: int, waiting: int, due: int, left: int) -> None:
    """Credit below zero is spent, a negative invoice becomes credit, and what is too little to charge waits."""
    customer = f"/v1/customers/{begun['customer']}"
    sandbox.post(customer, {"balance": balance})
    if waiting:
        sandbox.post("/v1/invoiceitems", {"customer": begun["customer"], "amount": waiting, "currency": "usd"})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["status"], invoice["amount_due"], invoice["amount_paid"]) == ("paid", due, due)
    assert (invoice["starting_balance"], invoice["ending_balance"]) == (balance, left)
    assert sandbox.get(customer)["balance"] == left


def test_an_invoice_is_made_by_hand(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    item = sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 1200, "currency": "usd"})
    assert sandbox.post("/v1/invoices", {"customer": customer})["total"] == 0
    include = {"customer": customer, "pending_invoice_items_behavior": "include", "metadata[a]": "b"}
    gone = sandbox.post("/v1/invoices", include)
    assert (gone["status"], gone["total"], gone["billing_reason"]) == ("draft", 1200, "manual")
    assert sandbox.call("DELETE", f"/v1/invoices/{gone['id']}")["deleted"] is True
    assert sandbox.get(f"/v1/invoiceitems/{item['id']}")["invoice"] is None
    made = sandbox.post("/v1/invoices", include | {"default_payment_method": card})
    path = f"/v1/invoices/{made['id']}"
    assert sandbox.post(path, {"description": "Set-up"})["description"] == "Set-up"
    assert sandbox.post(f"{path}/finalize")["status"] == "open"
    assert sandbox.error("POST", path, {"description": "Other"})[0] == 400
    assert sandbox.error("DELETE", path)[0] == 400
    paid = sandbox.post(f"{path}/pay")
    assert (paid["status"], paid["amount_paid"], paid["parent"]) == ("paid", 1200, None)
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 1200, "currency": "usd"})
    assert sandbox.error("POST", "/v1/invoices", include | {"currency": "eur"})[1]["param"] == "currency"


def test_an_invoice_is_voided_or_written_off(sandbox: Driver, begun: Json) -> None:
    bad = sandbox.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": begun["customer"]})["id"]
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"default_payment_method": bad})
    sandbox.post(f"/v1/customers/{begun['customer']}", {"balance": -400})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["status"], invoice["amount_due"]) == ("open", 2500)
    path = f"/v1/invoices/{invoice['id']}"
    assert sandbox.post(f"{path}/mark_uncollectible")["status"] == "uncollectible"
    types = ["customer.updated", "invoice.marked_uncollectible", "customer.subscription.updated"]
    assert sandbox.event_types()[-3:] == types
    voided = sandbox.post(f"{path}/void")
    assert (voided["status"], voided["next_payment_attempt"]) == ("void", None)
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["balance"] == -400
    types = ["payment_intent.canceled", "customer.updated", "invoice.voided"]
    assert sandbox.event_types()[-3:] == types
    for verb in ("void", "pay", "finalize", "mark_uncollectible"):
        assert sandbox.error("POST", f"{path}/{verb}")[0] == 400


def test_an_invoice_is_paid_by_somebodys_word(sandbox: Driver) -> None:
    begun = sandbox.begin(card="pm_card_chargeCustomerFail")
    invoice = sandbox.post(f"/v1/invoices/{begun['latest_invoice']}/pay", {"paid_out_of_band": "true"})
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", 2900)
    assert sandbox.get(f"/v1/subscriptions/{begun['id']}")["status"] == "active"
    assert "invoice.paid" in sandbox.event_types()
    assert "invoice.payment_succeeded" not in sandbox.event_types()
    payment = sandbox.get("/v1/invoice_payments", invoice=invoice["id"])["data"][0]
    intent = sandbox.get(f"/v1/payment_intents/{payment['payment']['payment_intent']}")
    assert (payment["status"], intent["status"]) == ("canceled", "canceled")
    confirm = {"payment_method": sandbox.card(begun)}
    assert sandbox.error("POST", f"/v1/payment_intents/{intent['id']}/confirm", confirm)[0] == 400
    assert sandbox.event_types().count("invoice.paid") == 1


def test_fields_of_the_customer_stand_on_later_invoices(sandbox: Driver, begun: Json) -> None:
    field = {
        "invoice_settings[custom_fields][0][name]": "PO number",
        "invoice_settings[custom_fields][0][value]": "4711",
    }
    path = f"/v1/customers/{begun['customer']}"
    told = [{"name": "PO number", "value": "4711"}]
    assert sandbox.post(path, field)["invoice_settings"]["custom_fields"] == told
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["custom_fields"] == told
    assert sandbox.post(path, {"invoice_settings[custom_fields]": ""})["invoice_settings"]["custom_fields"] is None
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["custom_fields"] is None
    too_many = {f"invoice_settings[custom_fields][{n}][{part}]": "x" for n in range(5) for part in ("name", "value")}
    assert sandbox.error("POST", path, too_many)[0] == 400


def test_a_customer_has_one_currency(sandbox: Driver, begun: Json) -> None:
    customer, once = begun["customer"], sandbox.price(500, interval=None, currency="eur")["id"]
    for sent, param in (({"amount": 5, "currency": "eur"}, "currency"), ({"pricing[price]": once}, "pricing[price]")):
        status, error = sandbox.error("POST", "/v1/invoiceitems", {"customer": customer} | sent)
        assert (status, error["param"]) == (400, param)
        assert "cannot combine currencies" in error["message"]
    schedule = {
        "customer": customer,
        "start_date": "now",
        "phases[0][items][0][price]": sandbox.price(currency="eur")["id"],
    }
    assert sandbox.error("POST", "/v1/subscription_schedules", schedule)[1]["param"] == "phases"
    recurring = sandbox.price(currency="eur")["id"]
    order = {"customer": customer, "items[0][price]": recurring}
    assert sandbox.error("POST", "/v1/subscriptions", order)[1]["param"] == "items"
    page = {
        "customer": customer,
        "mode": "subscription",
        "success_url": "https://example.com/",
        "line_items[0][price]": recurring,
        "line_items[0][quantity]": 1,
    }
    assert sandbox.error("POST", "/v1/checkout/sessions", page)[1]["param"] == "line_items"
    quote = sandbox.post("/v1/quotes", {"customer": customer, "line_items[0][price]": recurring})
    assert sandbox.error("POST", f"/v1/quotes/{quote['id']}/finalize", {})[1]["param"] == "line_items"
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}")
    # What has ended keeps nobody from another currency, but what waits does.
    waiting = sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 5, "currency": "eur"})
    assert sandbox.error("POST", "/v1/invoiceitems", {"customer": customer, "amount": 5, "currency": "usd"})[0] == 400
    sandbox.call("DELETE", f"/v1/invoiceitems/{waiting['id']}")
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 5, "currency": "usd"})


def test_currencies_are_not_added_up(sandbox: Driver, begun: Json) -> None:
    customer, card = begun["customer"], begun["default_payment_method"]
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}")
    order = {"customer": customer, "items[0][price]": sandbox.price(1000, currency="eur")["id"]}
    other = sandbox.post("/v1/subscriptions", order | {"default_payment_method": card})
    # As a state may have it that is older than the refusal.
    store = sandbox.app.extensions["sandbox"].store
    waiting = sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 300, "currency": "eur"})
    store.save(store.get("invoiceitem", waiting["id"]) | {"currency": "usd"})
    sandbox.post(f"/v1/customers/{customer}", {"balance": -700})
    seen = sandbox.post("/v1/invoices/create_preview", {"subscription": other["id"]})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(other)
    assert (seen["total"], seen["amount_due"]) == (1000, 1000)
    assert (invoice["total"], invoice["amount_paid"], invoice["starting_balance"]) == (1000, 1000, 0)
    assert invoice["ending_balance"] == 0
    # The balance is in the currency of what was billed first.
    assert sandbox.get(f"/v1/customers/{customer}")["balance"] == -700
    note = {"invoice": invoice["id"], "amount": 100, "credit_amount": 100}
    assert sandbox.error("POST", "/v1/credit_notes", note)[1]["param"] == "credit_amount"
