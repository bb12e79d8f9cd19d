"""Quotes: drafted, finalized, and accepted for a subscription or an invoice, which come to what was quoted."""

import pytest

from tests.sandbox.driving import Driver, Json
from tests.sandbox.test_taxes import rate, sums

ALL = "/v1/quotes"


def customer(sandbox: Driver, **more: str) -> str:
    """Somebody with a card that pays by default."""
    made = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa", "email": "ada@b.co"} | more)["id"]
    card = sandbox.get("/v1/payment_methods", customer=made)["data"][0]["id"]
    sandbox.post(f"/v1/customers/{made}", {"invoice_settings[default_payment_method]": card})
    return str(made)


def drafted(sandbox: Driver, *prices: Json, **more: str | int) -> Json:
    """The draft of a quote over one of each price."""
    lines = {f"line_items[{place}][price]": price["id"] for place, price in enumerate(prices)}
    return sandbox.post(ALL, lines | {"customer": customer(sandbox)} | more)


def finalized(sandbox: Driver, quote: Json) -> Json:
    return sandbox.post(f"{ALL}/{quote['id']}/finalize")


def accepted(sandbox: Driver, quote: Json) -> Json:
    return sandbox.post(f"{ALL}/{finalized(sandbox, quote)['id']}/accept")


def test_a_quote_becomes_a_subscription(sandbox: Driver) -> None:
    quote = drafted(sandbox, sandbox.price(2900), sandbox.price(10_000, interval=None, name="Setup"))
    assert (quote["status"], quote["number"], quote["currency"]) == ("draft", None, "usd")
    assert (quote["amount_subtotal"], quote["amount_total"]) == (12_900, 12_900)
    assert quote["computed"]["recurring"]["amount_total"] == 2900
    assert quote["computed"]["recurring"]["interval"] == "month"
    opened = finalized(sandbox, quote)
    assert opened["status"] == "open"
    assert opened["number"].startswith("QT-")
    done = sandbox.post(f"{ALL}/{quote['id']}/accept")
    assert (done["status"], done["invoice"]) == ("accepted", None)
    subscription = sandbox.get(f"/v1/subscriptions/{done['subscription']}")
    assert subscription["status"] == "active"
    invoice = sandbox.latest_invoice(subscription)
    assert (invoice["total"], invoice["status"]) == (12_900, "paid")
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(subscription)["total"] == 2900
    types = sandbox.event_types()
    assert [kind for kind in types if kind.startswith("quote.")] == [
        "quote.created",
        "quote.finalized",
        "quote.accepted",
    ]
    assert types.index("customer.subscription.created") < types.index("quote.accepted")


def test_what_is_bought_once_becomes_the_draft_of_an_invoice(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 10, "duration": "once"})["id"]
    terms = {"discounts[0][coupon]": coupon, "default_tax_rates[0]": rate(sandbox, 20)}
    quote = drafted(sandbox, sandbox.price(1000, interval=None), **terms)
    assert (quote["amount_subtotal"], quote["amount_total"], quote["computed"]["recurring"]) == (1000, 1080, None)
    assert quote["total_details"] == {"amount_discount": 100, "amount_shipping": 0, "amount_tax": 180}
    assert sandbox.get(f"/v1/coupons/{coupon}")["times_redeemed"] == 0
    done = accepted(sandbox, quote)
    assert (done["subscription"], sandbox.get(f"/v1/coupons/{coupon}")["times_redeemed"]) == (None, 1)
    invoice = sandbox.get(f"/v1/invoices/{done['invoice']}")
    assert (invoice["status"], invoice["billing_reason"]) == ("draft", "quote_accept")
    assert invoice["parent"] == {
        "quote_details": {"quote": quote["id"]},
        "subscription_details": None,
        "type": "quote_details",
    }
    assert sums(invoice) == (1000, 180, 1080, 900)
    path = f"/v1/invoices/{invoice['id']}"
    sandbox.post(path + "/finalize")
    assert sandbox.post(path + "/pay")["amount_paid"] == 1080


@pytest.mark.parametrize("days", [0, 14])
@pytest.mark.parametrize("off", [{}, {"percent_off": 15}, {"amount_off": 700, "currency": "usd"}])
@pytest.mark.parametrize("duration", ["once", "forever"])
@pytest.mark.parametrize("inclusive", [False, True])
def test_what_is_billed_is_what_was_quoted(
    sandbox: Driver, days: int, off: Json, duration: str, inclusive: bool
) -> None:
    terms: Json = {"default_tax_rates[0]": rate(sandbox, 19, inclusive)}
    if off:
        terms["discounts[0][coupon]"] = sandbox.post("/v1/coupons", off | {"duration": duration})["id"]
    if days:
        terms["subscription_data[trial_period_days]"] = days
    prices = (sandbox.price(333, interval=None), sandbox.price(1999), sandbox.price(777, name="Seat"))
    quote = drafted(sandbox, *prices, **terms)
    done = accepted(sandbox, quote)
    first = sandbox.latest_invoice({"id": done["subscription"]})
    upfront = quote["computed"]["upfront"]
    assert (first["subtotal"], first["total"]) == (upfront["amount_subtotal"], upfront["amount_total"])
    assert sums(first)[1] == upfront["total_details"]["amount_tax"]
    sandbox.pass_by(days)
    sandbox.pass_by(31)
    again, recurring = sandbox.latest_invoice({"id": done["subscription"]}), quote["computed"]["recurring"]
    assert (again["subtotal"], again["total"]) == (recurring["amount_subtotal"], recurring["amount_total"])


def test_a_draft_is_changed_line_by_line(sandbox: Driver) -> None:
    quote = drafted(sandbox, sandbox.price(1000), sandbox.price(500, interval=None))
    path = f"{ALL}/{quote['id']}"
    first = sandbox.get(f"{path}/line_items")["data"][0]
    other, own = sandbox.price(300, interval=None), rate(sandbox, 10)
    changed = sandbox.post(
        path,
        {
            "line_items[0][id]": first["id"],
            "line_items[0][quantity]": 3,
            "line_items[1][price]": other["id"],
            "line_items[1][tax_rates][0]": own,
            "description": "For a year",
            "metadata[by]": "us",
            "subscription_data[metadata][plan]": "pro",
        },
    )
    assert (changed["amount_subtotal"], changed["amount_total"]) == (3300, 3330)
    lines = sandbox.get(path, **{"expand[0]": "line_items.data.taxes"})["line_items"]["data"]
    assert [(one["price"]["id"], one["quantity"], one["amount_tax"]) for one in lines] == [
        (first["price"]["id"], 3, 0),
        (other["id"], 1, 30),
    ]
    assert lines[1]["taxes"][0]["rate"]["id"] == own
    done = accepted(sandbox, changed)
    subscription = sandbox.get(f"/v1/subscriptions/{done['subscription']}")
    assert subscription["metadata"] == {"plan": "pro"}
    assert sandbox.error("POST", path, {"description": "late"})[0] == 400
    assert sandbox.post(path, {"metadata[by]": "them"})["metadata"] == {"by": "them"}


def test_a_trial_is_offered_with_what_is_due_at_once(sandbox: Driver) -> None:
    prices = (sandbox.price(2900), sandbox.price(700, interval=None))
    quote = drafted(sandbox, *prices, **{"subscription_data[trial_period_days]": 14})
    assert quote["computed"]["upfront"]["amount_total"] == 700
    upfront = sandbox.get(f"{ALL}/{quote['id']}/computed_upfront_line_items")["data"]
    assert [one["amount_total"] for one in upfront] == [700]
    subscription = sandbox.get(f"/v1/subscriptions/{accepted(sandbox, quote)['subscription']}")
    assert subscription["status"] == "trialing"


def test_tax_follows_the_place_of_the_customer(sandbox: Driver) -> None:
    quote = drafted(sandbox, sandbox.price(1000), **{"automatic_tax[enabled]": "true"})
    assert quote["automatic_tax"]["status"] == "requires_location_inputs"
    finalize = f"{ALL}/{quote['id']}/finalize"
    assert sandbox.error("POST", finalize)[1]["code"] == "customer_tax_location_invalid"
    sandbox.post(f"/v1/customers/{quote['customer']}", {"address[country]": "DE"})
    opened = sandbox.post(finalize)
    assert (opened["amount_total"], opened["automatic_tax"]["status"]) == (1190, "complete")
    done = sandbox.post(f"{ALL}/{quote['id']}/accept")
    assert sandbox.latest_invoice({"id": done["subscription"]})["total"] == 1190


@pytest.mark.parametrize("finalize", [False, True])
def test_a_quote_is_taken_back_or_expires(sandbox: Driver, finalize: bool) -> None:
    quotes = [drafted(sandbox, sandbox.price()), drafted(sandbox, sandbox.price(), expires_at=1_800_100_000)]
    if finalize:
        quotes = [finalized(sandbox, quote) for quote in quotes]
    gone, late = (f"{ALL}/{quote['id']}" for quote in quotes)
    assert sandbox.post(gone + "/cancel")["status"] == "canceled"
    sandbox.pass_until(1_800_100_000)
    expired = sandbox.get(late)
    assert (expired["status"], expired["status_transitions"]["canceled_at"]) == ("canceled", 1_800_100_000)
    for path in (gone, late):
        for step in ("accept", "cancel", "finalize"):
            assert "its status is canceled" in sandbox.error("POST", f"{path}/{step}")[1]["message"]
    assert sandbox.event_types().count("quote.canceled") == 2
    assert len(sandbox.get(ALL, status="canceled")["data"]) == 2


def test_a_quote_of_a_test_clock_expires_by_that(sandbox: Driver) -> None:
    clock = sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": 1_800_000_000})["id"]
    owner = sandbox.post("/v1/customers", {"test_clock": clock})["id"]
    quote = sandbox.post(ALL, {"customer": owner, "line_items[0][price]": sandbox.price()["id"]})
    assert quote["test_clock"] == clock
    sandbox.pass_by(60)
    assert sandbox.get(f"{ALL}/{quote['id']}")["status"] == "draft"
    sandbox.post(f"/v1/test_helpers/test_clocks/{clock}/advance", {"frozen_time": 1_800_000_000 + 31 * 86400})
    for _ in range(2):
        sandbox.get(f"/v1/test_helpers/test_clocks/{clock}")
    assert sandbox.get(f"{ALL}/{quote['id']}")["status"] == "canceled"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"expires_at": 1_700_000_000}, "expires_at"),
        ({"discounts[0][coupon]": "none", "line_items[0][price]": "PRICE"}, "discounts[0][coupon]"),
        ({"line_items[0][price]": "price_none"}, "line_items[0][price]"),
        ({"line_items[0][price]": "PRICE", "line_items[1][price]": "YEARLY"}, "line_items"),
        ({"line_items[0][price]": "PRICE", "line_items[1][price]": "PRICE"}, "line_items"),
        ({"default_tax_rates[0]": "txr_none"}, "default_tax_rates[0]"),
        ({"collection_method": "send_invoice"}, "collection_method"),
        ({"from_quote[quote]": "qt_1"}, "from_quote"),
        ({"subscription_data[effective_date]": "current_period_end"}, "subscription_data[effective_date]"),
    ],
)
def test_what_cannot_be_quoted_is_refused(sandbox: Driver, sent: Json, param: str) -> None:
    named = {"PRICE": sandbox.price()["id"], "YEARLY": sandbox.price(interval="year")["id"]}
    status, error = sandbox.error("POST", ALL, {name: named.get(str(value), value) for name, value in sent.items()})
    assert (status, error["param"]) == (400, param)
    assert sandbox.get(ALL)["data"] == []


def test_nothing_is_offered_to_nobody(sandbox: Driver) -> None:
    quote = sandbox.post(ALL)
    path = f"{ALL}/{quote['id']}"
    assert sandbox.error("POST", path + "/finalize")[1]["param"] == "customer"
    sandbox.post(path, {"customer": customer(sandbox)})
    assert sandbox.error("POST", path + "/finalize")[1]["param"] == "line_items"
    assert sandbox.error("POST", path + "/accept")[0] == 400
    assert sandbox.error("POST", path, {"line_items[0][id]": "li_none"})[1]["param"] == "line_items[0][id]"


def test_without_a_card_nothing_is_accepted(sandbox: Driver) -> None:
    poor = sandbox.post("/v1/customers")["id"]
    quote = finalized(sandbox, drafted(sandbox, sandbox.price(), customer=poor))
    status, error = sandbox.error("POST", f"{ALL}/{quote['id']}/accept")
    assert (status, error["code"]) == (400, "resource_missing")
    assert sandbox.get(f"{ALL}/{quote['id']}")["status"] == "open"
    assert sandbox.get("/v1/subscriptions")["data"] == []


def test_a_finalized_quote_is_a_file(sandbox: Driver) -> None:
    quote = drafted(sandbox, sandbox.price(2900, name="Pro"), sandbox.price(500, interval=None), footer="Thank you")
    path = f"{ALL}/{quote['id']}/pdf"
    assert sandbox.error("GET", path)[0] == 400
    opened = finalized(sandbox, quote)
    answer = sandbox.send("GET", path)
    assert (answer.status_code, answer.content_type) == (200, "application/pdf")
    for words in (opened["number"], "Pro", "$34.00", "Then every month", "$29.00", "Thank you"):
        assert words.encode() in answer.data
