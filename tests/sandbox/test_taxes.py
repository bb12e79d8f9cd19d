"""Taxes on subscriptions and invoices: by rates that are named, or by the place of the customer."""

import pytest

from tests.sandbox.driving import Driver, Json


def rate(sandbox: Driver, percentage: float = 19, inclusive: bool = False, **more: str) -> str:
    sent = {"display_name": "VAT", "percentage": percentage, "inclusive": str(inclusive).lower()}
    return str(sandbox.post("/v1/tax_rates", sent | more)["id"])


def place(sandbox: Driver, subscription: Json, country: str, **more: str) -> None:
    sandbox.post(f"/v1/customers/{subscription['customer']}", {"address[country]": country} | more)


def sums(invoice: Json) -> tuple[int, int, int, int]:
    """Subtotal, tax, total, and total without tax."""
    tax = sum(one["amount"] for one in invoice["total_taxes"])
    assert invoice["total"] == invoice["total_excluding_tax"] + tax
    return invoice["subtotal"], tax, invoice["total"], invoice["total_excluding_tax"]


def test_a_rate_is_made_changed_and_found(sandbox: Driver) -> None:
    made = sandbox.post(
        "/v1/tax_rates",
        {
            "display_name": "VAT",
            "percentage": "7.7125",
            "inclusive": "false",
            "country": "CH",
            "jurisdiction": "CH",
            "tax_type": "vat",
            "metadata[by]": "us",
        },
    )
    assert (made["percentage"], made["inclusive"], made["active"], made["country"]) == (7.7125, False, True, "CH")
    changed = sandbox.post(f"/v1/tax_rates/{made['id']}", {"active": "false", "description": "Until 2024"})
    assert sandbox.get(f"/v1/tax_rates/{made['id']}") == changed
    rate(sandbox, inclusive=True)
    assert [one["id"] for one in sandbox.get("/v1/tax_rates", active="false")["data"]] == [made["id"]]
    assert len(sandbox.get("/v1/tax_rates", inclusive="true")["data"]) == 1
    assert sandbox.event_types() == ["tax_rate.created", "tax_rate.updated", "tax_rate.created"]
    assert sandbox.events()[1]["data"]["previous_attributes"] == {"active": True, "description": None}


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"percentage": "19", "inclusive": "false"}, "display_name"),
        ({"display_name": "VAT", "percentage": "19"}, "inclusive"),
        ({"display_name": "VAT", "percentage": "101", "inclusive": "false"}, "percentage"),
        ({"display_name": "VAT", "percentage": "1.23456", "inclusive": "false"}, "percentage"),
        ({"display_name": "VAT", "percentage": "19", "inclusive": "false", "tax_type": "tithe"}, "tax_type"),
        ({"display_name": "VAT", "percentage": "19", "inclusive": "false", "rate_type": "x"}, "rate_type"),
    ],
)
def test_what_is_no_rate_is_refused(sandbox: Driver, sent: Json, param: str) -> None:
    status, error = sandbox.error("POST", "/v1/tax_rates", sent)
    assert (status, error["param"]) == (400, param)
    known = rate(sandbox)
    assert sandbox.error("POST", f"/v1/tax_rates/{known}", {"percentage": "20"})[1]["code"] == "parameter_unknown"


@pytest.mark.parametrize(
    ("amount", "percentage", "inclusive", "tax"),
    [
        (2900, 19, False, 551),
        (2900, 19, True, 463),
        (43, 15, False, 6),
        (484, 15, False, 73),
        (150, 1, False, 2),  # Half a cent is a cent.
        (149, 1, False, 1),
        (2900, 0, False, 0),
        (999, 8.875, False, 89),
        (999, 8.875, True, 81),
        (10_000, 25.5, True, 2032),
    ],
)
def test_a_line_is_taxed_and_rounded_by_itself(
    sandbox: Driver, amount: int, percentage: float, inclusive: bool, tax: int
) -> None:
    named = rate(sandbox, percentage, inclusive)
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(amount), **{"default_tax_rates[0]": named}))
    total = amount if inclusive else amount + tax
    assert sums(invoice) == (amount, tax, total, total - tax)
    assert invoice["subtotal_excluding_tax"] == total - tax
    assert invoice["lines"]["data"][0]["taxes"] == [
        {
            "amount": tax,
            "tax_behavior": "inclusive" if inclusive else "exclusive",
            "tax_rate_details": {"tax_rate": named},
            "taxability_reason": "not_available",
            "taxable_amount": total - tax,
            "type": "tax_rate_details",
        }
    ]
    assert invoice["total_taxes"] == invoice["lines"]["data"][0]["taxes"]
    charge = sandbox.get("/v1/charges")["data"]
    assert total < 50 or charge[0]["amount"] == total


def test_an_exclusive_rate_is_on_top_of_what_is_left_without_an_inclusive_one(sandbox: Driver) -> None:
    both = {"default_tax_rates[0]": rate(sandbox, 10, True), "default_tax_rates[1]": rate(sandbox, 5)}
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(11_000), **both))
    assert [one["amount"] for one in invoice["total_taxes"]] == [1000, 500]
    assert [one["taxable_amount"] for one in invoice["total_taxes"]] == [10_000, 10_000]
    assert (invoice["total"], invoice["total_excluding_tax"]) == (11_500, 10_000)


def test_a_discount_comes_off_before_tax(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 10, "duration": "forever"})["id"]
    terms = {"default_tax_rates[0]": rate(sandbox, 20), "discounts[0][coupon]": coupon}
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(1000), **terms))
    assert sums(invoice) == (1000, 180, 1080, 900)
    assert invoice["subtotal_excluding_tax"] == 1000


def test_an_items_own_rates_take_the_place_of_the_default_ones(sandbox: Driver) -> None:
    general, own = rate(sandbox, 20), rate(sandbox, 7)
    begun = sandbox.begin(sandbox.price(1000), **{"default_tax_rates[0]": general, "items[0][tax_rates][0]": own})
    assert [one["id"] for one in begun["default_tax_rates"]] == [general]
    item = begun["items"]["data"][0]
    assert [one["id"] for one in item["tax_rates"]] == [own]
    assert sums(sandbox.latest_invoice(begun))[1] == 70
    sandbox.post(f"/v1/subscription_items/{item['id']}", {"tax_rates": ""})
    assert sandbox.event_types()[-1] == "customer.subscription.updated"
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice(begun))[1] == 200
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"default_tax_rates": ""})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert (sums(invoice)[1], invoice["default_tax_rates"], invoice["total_taxes"]) == (0, [], [])


def test_what_is_given_back_by_a_change_is_given_back_with_its_tax(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(3000), **{"default_tax_rates[0]": rate(sandbox, 19)})
    dearer = sandbox.price(9000)["id"]
    sandbox.pass_by(15)
    change = {"items[0][id]": begun["items"]["data"][0]["id"], "items[0][price]": dearer}
    asked = {f"subscription_details[{name.replace('[', '][', 1)}": value for name, value in change.items()}
    at_once = {"subscription_details[proration_behavior]": "always_invoice"}
    preview = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]} | asked | at_once)
    sandbox.post(f"/v1/subscriptions/{begun['id']}", change | {"proration_behavior": "always_invoice"})
    invoice = sandbox.latest_invoice(begun)
    assert sums(invoice) == sums(preview)
    back, ask = invoice["lines"]["data"]
    assert back["taxes"][0]["amount"] < 0 < ask["taxes"][0]["amount"]
    assert invoice["total_taxes"][0]["amount"] == back["taxes"][0]["amount"] + ask["taxes"][0]["amount"]


def test_previews_are_what_is_billed(sandbox: Driver) -> None:
    first, other = rate(sandbox, 19), rate(sandbox, 7.5, True)
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    price = sandbox.price(999)["id"]
    shown = sandbox.post(
        "/v1/invoices/create_preview",
        {
            "customer": customer,
            "subscription_details[items][0][price]": price,
            "subscription_details[default_tax_rates][0]": first,
        },
    )
    order = {"customer": customer, "items[0][price]": price, "default_payment_method": card}
    begun = sandbox.post("/v1/subscriptions", order | {"default_tax_rates[0]": first})
    assert sums(sandbox.latest_invoice(begun)) == sums(shown)
    changed = {"subscription": begun["id"], "subscription_details[default_tax_rates][0]": other}
    shown = sandbox.post("/v1/invoices/create_preview", changed)
    assert [one["id"] for one in sandbox.subscription(begun)["default_tax_rates"]] == [first]
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"default_tax_rates[0]": other})
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice(begun)) == sums(shown)


@pytest.mark.parametrize(("exempt", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge")])
def test_who_is_exempt_pays_no_tax_and_the_invoice_says_why(sandbox: Driver, exempt: str, reason: str) -> None:
    begun = sandbox.begin(sandbox.price(1000), **{"default_tax_rates[0]": rate(sandbox, 20)})
    sandbox.post(f"/v1/customers/{begun['customer']}", {"tax_exempt": exempt})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert sums(invoice) == (1000, 0, 1000, 1000)
    assert (invoice["total_taxes"][0]["taxability_reason"], invoice["customer_tax_exempt"]) == (reason, exempt)


def _automatic(sandbox: Driver, price: Json, **customer: str) -> Json:
    made = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"} | customer)["id"]
    card = sandbox.get("/v1/payment_methods", customer=made)["data"][0]["id"]
    order = {"customer": made, "items[0][price]": price["id"], "default_payment_method": card}
    return sandbox.post("/v1/subscriptions", order | {"automatic_tax[enabled]": "true"})


@pytest.mark.parametrize(
    ("country", "state", "behavior", "tax", "reason"),
    [
        ("DE", "", "exclusive", 190, "standard_rated"),
        ("DE", "", "inclusive", 160, "standard_rated"),
        ("FI", "", "unspecified", 255, "standard_rated"),
        ("US", "NY", "exclusive", 40, "standard_rated"),
        ("US", "CA", "exclusive", 0, "not_collecting"),
        ("BR", "", "inclusive", 0, "not_collecting"),
    ],
)
def test_automatic_tax_follows_the_place_and_the_price(
    sandbox: Driver, country: str, state: str, behavior: str, tax: int, reason: str
) -> None:
    price = sandbox.price(1000, tax_behavior=behavior)
    where = {"address[country]": country} | ({"address[state]": state} if state else {})
    begun = _automatic(sandbox, price, **where)
    assert begun["automatic_tax"] == {"disabled_reason": None, "enabled": True, "liability": {"type": "self"}}
    invoice = sandbox.latest_invoice(begun)
    assert sums(invoice)[1] == tax
    assert (invoice["automatic_tax"]["status"], invoice["automatic_tax"]["provider"]) == ("complete", "stripe")
    assert invoice["total_taxes"][0]["taxability_reason"] == reason
    applied = sandbox.get(f"/v1/tax_rates/{invoice['total_taxes'][0]['tax_rate_details']['tax_rate']}")
    assert (applied["country"], applied["state"], applied["active"]) == (country, state or None, False)
    sandbox.pass_by(31)
    again = sandbox.latest_invoice(begun)["total_taxes"][0]["tax_rate_details"]["tax_rate"]
    assert again == applied["id"]


def test_a_move_changes_the_tax_of_the_next_invoice(sandbox: Driver) -> None:
    begun = _automatic(sandbox, sandbox.price(1000), **{"address[country]": "DE"})
    place(sandbox, begun, "AT")
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice(begun))[1] == 200


def test_automatic_tax_needs_to_know_where_the_customer_is(sandbox: Driver) -> None:
    known = sandbox.begin(sandbox.price(1000))
    path, on = f"/v1/subscriptions/{known['id']}", {"automatic_tax[enabled]": "true"}
    status, error = sandbox.error("POST", path, on)
    assert (status, error["code"]) == (400, "customer_tax_location_invalid")
    place(sandbox, known, "DE")
    assert sandbox.post(path, on)["automatic_tax"]["enabled"]
    # Whoever is lost later is billed without tax rather than not at all.
    sandbox.post(f"/v1/customers/{known['customer']}", {"address": ""})
    sandbox.pass_by(31)
    invoice, lost = sandbox.latest_invoice(known), sandbox.subscription(known)
    assert (invoice["status"], sums(invoice)[1]) == ("paid", 0)
    assert invoice["automatic_tax"]["disabled_reason"] == "finalization_requires_location_inputs"
    assert lost["automatic_tax"] == {
        "disabled_reason": "requires_location_inputs",
        "enabled": False,
        "liability": None,
    }


@pytest.mark.parametrize("name", ["default_tax_rates[0]", "items[0][tax_rates][0]"])
def test_rates_by_hand_and_automatic_tax_exclude_each_other(sandbox: Driver, name: str) -> None:
    begun = _automatic(sandbox, sandbox.price(1000), **{"address[country]": "DE"})
    sent = {name: rate(sandbox)}
    if name.startswith("items"):
        sent["items[0][id]"] = begun["items"]["data"][0]["id"]
    status, error = sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", sent)
    assert (status, error["param"]) == (400, "automatic_tax[enabled]")
    assert sandbox.subscription(begun)["default_tax_rates"] == []


def test_a_rate_that_is_over_can_no_longer_be_named(sandbox: Driver) -> None:
    over = rate(sandbox, active="false")
    begun = sandbox.begin()
    path = f"/v1/subscriptions/{begun['id']}"
    for rates in ({"default_tax_rates[0]": over}, {"default_tax_rates[0]": "txr_none"}):
        assert sandbox.error("POST", path, rates)[1]["param"] == "default_tax_rates[0]"
    known = rate(sandbox)
    twice = {"default_tax_rates[0]": known, "default_tax_rates[1]": known}
    assert sandbox.error("POST", path, twice)[1]["param"] == "default_tax_rates"
    sandbox.post(path, {"default_tax_rates[0]": known})
    sandbox.post(f"/v1/tax_rates/{known}", {"active": "false"})
    sandbox.pass_by(31)
    assert sums(sandbox.latest_invoice(begun))[1] > 0


def _by_hand(sandbox: Driver, country: str = "", **more: str) -> Json:
    address = {"address[country]": country} if country else {}
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"} | address)["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 1000, "currency": "usd"})
    own = {"customer": customer, "amount": 2000, "currency": "usd", "tax_rates[0]": rate(sandbox, 5)}
    item = sandbox.post("/v1/invoiceitems", own)
    assert item["tax_rates"][0]["percentage"] == 5
    if more.pop("own", "yes") == "no":
        sandbox.call("DELETE", f"/v1/invoiceitems/{item['id']}")
    order = {"customer": customer, "pending_invoice_items_behavior": "include", "default_payment_method": card}
    return sandbox.post("/v1/invoices", order | more)


def test_an_invoice_by_hand_is_taxed_and_taxed_again_as_long_as_it_is_a_draft(sandbox: Driver) -> None:
    drafted = _by_hand(sandbox, **{"default_tax_rates[0]": rate(sandbox, 20)})
    assert sums(drafted) == (3000, 200 + 100, 3300, 3000)
    path = f"/v1/invoices/{drafted['id']}"
    changed = sandbox.post(path, {"default_tax_rates[0]": rate(sandbox, 10)})
    assert sums(changed) == (3000, 100 + 100, 3200, 3000)
    assert changed["lines"]["data"][0]["taxes"][0]["amount"] == 100
    sandbox.post(path + "/finalize")
    status, _ = sandbox.error("POST", path, {"default_tax_rates": ""})
    assert status == 400
    assert sandbox.post(path + "/pay")["amount_paid"] == 3200


def test_an_invoice_by_hand_with_automatic_tax_is_not_finalized_for_nowhere(sandbox: Driver) -> None:
    automatic = {"automatic_tax[enabled]": "true", "own": "no"}
    nowhere = _by_hand(sandbox, **automatic)
    assert nowhere["automatic_tax"]["status"] == "requires_location_inputs"
    status, error = sandbox.error("POST", f"/v1/invoices/{nowhere['id']}/finalize")
    assert (status, error["code"]) == (400, "customer_tax_location_invalid")
    sandbox.post(f"/v1/customers/{nowhere['customer']}", {"address[country]": "AT"})
    assert sums(sandbox.post(f"/v1/invoices/{nowhere['id']}/finalize")) == (1000, 200, 1200, 1000)
    assert sums(_by_hand(sandbox, "DE", **automatic)) == (1000, 190, 1190, 1000)


def test_a_preview_takes_for_granted_what_is_said_of_the_customer(sandbox: Driver) -> None:
    price = sandbox.price(1000)["id"]
    asked = {"subscription_details[items][0][price]": price, "automatic_tax[enabled]": "true"}
    assert sandbox.error("POST", "/v1/invoices/create_preview", asked)[1]["code"] == "customer_tax_location_invalid"
    there = {"customer_details[address][country]": "AT"}
    assert sums(sandbox.post("/v1/invoices/create_preview", asked | there))[1] == 200
    begun = _automatic(sandbox, sandbox.price(1000), **{"address[country]": "DE"})
    moved = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]} | there)
    assert sums(moved)[1] == 200
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["address"]["country"] == "DE"
    assert len(sandbox.get("/v1/customers")["data"]) == 1


def test_credit_notes_give_back_the_tax_of_what_they_credit(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(999), **{"default_tax_rates[0]": rate(sandbox, 19)})
    invoice = sandbox.latest_invoice(begun)
    line = invoice["lines"]["data"][0]["id"]
    notes = []
    for amount in (333, 333, 333):
        sent: Json = {"invoice": invoice["id"], "lines[0][type]": "invoice_line_item"}
        sent |= {"lines[0][invoice_line_item]": line, "lines[0][amount]": amount}
        total = sandbox.get("/v1/credit_notes/preview", **sent, credit_amount=_total(sandbox, sent))["total"]
        notes.append(sandbox.post("/v1/credit_notes", sent | {"credit_amount": total}))
    assert sum(note["total"] for note in notes) == invoice["total"]
    assert sum(note["total_taxes"][0]["amount"] for note in notes) == invoice["total_taxes"][0]["amount"] == 190
    assert all(note["total_excluding_tax"] == 333 for note in notes)


def _total(sandbox: Driver, sent: Json) -> int:
    """What the note comes to, as the error says that is given when it goes back in no way."""
    message = sandbox.error("GET", "/v1/credit_notes/preview", sent)[1]["message"]
    return int(message.split("(")[2].split(")")[0])


def test_a_custom_line_of_a_credit_note_has_the_rates_it_names(sandbox: Driver) -> None:
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(2000)))
    sent: Json = {"invoice": invoice["id"], "lines[0][type]": "custom_line_item", "lines[0][unit_amount]": 1000}
    sent |= {"lines[0][tax_rates][0]": rate(sandbox, 10), "credit_amount": 1100}
    note = sandbox.post("/v1/credit_notes", sent)
    assert (note["subtotal"], note["total"], note["total_taxes"][0]["amount"]) == (1000, 1100, 100)
    assert note["lines"]["data"][0]["tax_rates"][0]["percentage"] == 10


def test_an_invoice_shows_its_taxes_on_the_page_and_in_the_file(sandbox: Driver) -> None:
    terms = {"default_tax_rates[0]": rate(sandbox, 19), "default_tax_rates[1]": rate(sandbox, 5, True)}
    invoice = sandbox.latest_invoice(sandbox.begin(sandbox.price(1050), **terms))
    page = sandbox.client.get(f"/i/{invoice['id']}").get_data(as_text=True)
    for words in ("VAT 19%", "$1.90", "VAT 5%, included", "$0.50", "$12.40"):
        assert words in page
    assert b"VAT 19%" in sandbox.client.get(f"/i/{invoice['id']}/pdf").data
