"""Taxes at checkout: shown before anything is paid, and on the invoice to the cent as they were shown."""

import pytest

from tests.sandbox.driving import Driver, Json
from tests.sandbox.test_taxes import rate, sums

AUTOMATIC = {"automatic_tax[enabled]": "true"}


def _page(sandbox: Driver, session: Json) -> str:
    return sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)


def _say(sandbox: Driver, session: Json, country: str, state: str = "") -> int:
    form = {"place": "set", "country": country, "state": state}
    return sandbox.client.post(f"/c/pay/{session['id']}", data=form).status_code


def _again(sandbox: Driver, session: Json, **more: str) -> Json:
    return sandbox.get(f"/v1/checkout/sessions/{session['id']}", **more)


def test_the_place_is_asked_for_before_anything_is_paid(sandbox: Driver) -> None:
    session = sandbox.session(sandbox.price(1000), **AUTOMATIC)
    assert session["automatic_tax"]["status"] == "requires_location_inputs"
    refused = sandbox.pay(session)
    assert refused.status_code == 422
    assert "Say where you are" in refused.get_data(as_text=True)
    assert _say(sandbox, session, "XX") == 422
    assert _say(sandbox, session, "US") == 422
    assert _say(sandbox, session, "DE") == 303
    page = _page(sandbox, session)
    for words in ("$1.90", "Subscribe and pay $11.90", "at $11.90 every month"):
        assert words in page
    paid = sandbox.paid(session)
    assert (paid["amount_subtotal"], paid["amount_total"]) == (1000, 1190)
    assert paid["total_details"]["amount_tax"] == 190
    assert paid["automatic_tax"]["status"] == "complete"
    assert paid["customer_details"]["address"]["country"] == "DE"
    assert sandbox.get(f"/v1/customers/{paid['customer']}")["address"]["country"] == "DE"
    invoice = sandbox.get(f"/v1/invoices/{paid['invoice']}")
    assert sums(invoice) == (1000, 190, 1190, 1000)
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice({"id": paid["subscription"]}))[2] == 1190


def test_another_place_is_another_tax(sandbox: Driver) -> None:
    session = sandbox.session(sandbox.price(1000), **AUTOMATIC)
    totals = []
    for country, state in (("AT", ""), ("US", "ny"), ("BR", ""), ("AT", "")):
        assert _say(sandbox, session, country, state) == 303
        totals.append(_again(sandbox, session)["amount_total"])
    assert totals == [1200, 1040, 1000, 1200]
    assert "at $12.00 every month" in _page(sandbox, session)


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
@pytest.mark.parametrize("percent", [0, 15, 33])
@pytest.mark.parametrize("amounts", [(999,), (333, 1001, 50), (1, 1, 77)])
def test_what_was_shown_is_what_is_billed(
    sandbox: Driver, amounts: tuple[int, ...], percent: int, behavior: str
) -> None:
    lines: Json = {}
    for place, amount in enumerate(amounts):
        price = sandbox.price(amount, interval="month", tax_behavior=behavior)
        lines |= {f"line_items[{place}][price]": price["id"], f"line_items[{place}][quantity]": 1 + place}
    if percent:
        lines["discounts[0][coupon]"] = sandbox.post("/v1/coupons", {"percent_off": percent, "duration": "once"})["id"]
    session = sandbox.session(**lines, **AUTOMATIC)
    _say(sandbox, session, "IT")
    paid = sandbox.paid(session)
    invoice = sandbox.get(f"/v1/invoices/{paid['invoice']}")
    assert (invoice["subtotal"], invoice["total"]) == (paid["amount_subtotal"], paid["amount_total"])
    assert sums(invoice)[1] == paid["total_details"]["amount_tax"]


def test_lines_and_the_subscription_have_rates_that_are_named(sandbox: Driver) -> None:
    general, own = rate(sandbox, 20), rate(sandbox, 7)
    once = sandbox.price(5000, interval=None)
    more = {
        "subscription_data[default_tax_rates][0]": general,
        "line_items[1][price]": once["id"],
        "line_items[1][quantity]": 1,
        "line_items[1][tax_rates][0]": own,
    }
    session = sandbox.session(sandbox.price(1000), **more)
    assert session["total_details"]["amount_tax"] == 200 + 350
    items = sandbox.get(f"/v1/checkout/sessions/{session['id']}/line_items", **{"expand[0]": "data.taxes"})["data"]
    assert [(one["amount_tax"], one["taxes"][0]["rate"]["id"]) for one in items] == [(200, general), (350, own)]
    paid = sandbox.paid(session)
    assert sums(sandbox.get(f"/v1/invoices/{paid['invoice']}"))[1] == 550
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice({"id": paid["subscription"]}))[1] == 200


def test_a_purchase_with_an_invoice_is_taxed(sandbox: Driver) -> None:
    price = sandbox.price(1000, interval=None)
    session = sandbox.session(price, mode="payment", **AUTOMATIC, **{"invoice_creation[enabled]": "true"})
    _say(sandbox, session, "FR")
    paid = sandbox.paid(session)
    assert sandbox.get(f"/v1/payment_intents/{paid['payment_intent']}")["amount"] == 1200
    assert sums(sandbox.get(f"/v1/invoices/{paid['invoice']}")) == (1000, 200, 1200, 1000)


def test_a_customer_whose_address_stays_is_taxed_there(sandbox: Driver) -> None:
    nowhere = sandbox.post("/v1/customers")["id"]
    order = {"mode": "subscription", "line_items[0][price]": sandbox.price(1000)["id"], "line_items[0][quantity]": 1}
    order |= {"success_url": "http://127.0.0.1:9/", "customer": nowhere} | AUTOMATIC
    status, error = sandbox.error("POST", "/v1/checkout/sessions", order)
    assert (status, error["code"]) == (400, "customer_tax_location_invalid")
    sandbox.post(f"/v1/customers/{nowhere}", {"address[country]": "DE"})
    session = sandbox.post("/v1/checkout/sessions", order)
    assert session["amount_total"] == 1190
    assert "Country" not in _page(sandbox, session)
    sandbox.client.post(f"/c/pay/{session['id']}", data={"place": "set", "country": "BR"})
    assert _again(sandbox, session)["amount_total"] == 1190


def test_a_move_while_the_page_is_open_is_shown_before_it_is_charged(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"address[country]": "DE", "email": "a@b.co"})["id"]
    session = sandbox.session(sandbox.price(1000), customer=customer, **AUTOMATIC)
    sandbox.post(f"/v1/customers/{customer}", {"address[country]": "AT"})
    answer = sandbox.pay(session)
    assert answer.status_code == 402
    assert "The tax has changed" in answer.get_data(as_text=True)
    assert sandbox.paid(session)["amount_total"] == 1200


def test_an_address_that_may_be_kept_is_the_customers_from_then_on(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    session = sandbox.session(customer=customer, **AUTOMATIC, **{"customer_update[address]": "auto"})
    _say(sandbox, session, "US", "TX")
    sandbox.paid(session)
    address = sandbox.get(f"/v1/customers/{customer}")["address"]
    assert (address["country"], address["state"]) == ("US", "TX")


def test_stripes_command_line_pays_where_its_card_is_billed(sandbox: Driver) -> None:
    session = sandbox.session(sandbox.price(1000, interval=None), mode="payment", **AUTOMATIC)
    card = {"type": "card", "card[token]": "tok_visa", "billing_details[email]": "a@b.co"}
    nowhere = sandbox.post("/v1/payment_methods", card)["id"]
    page = f"/v1/payment_pages/{session['id']}/confirm"
    assert sandbox.error("POST", page, {"payment_method": nowhere})[1]["code"] == "customer_tax_location_invalid"
    there = sandbox.post("/v1/payment_methods", card | {"billing_details[address][country]": "DE"})["id"]
    assert sandbox.post(page, {"payment_method": there})["amount_total"] == 1190
