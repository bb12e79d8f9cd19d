"""Usage is billed in arrears: at the renewal, at the end, and never for a trial."""

import pytest

from tests.sandbox.driving import Driver, Json


@pytest.fixture
def customer(sandbox: Driver) -> str:
    """Somebody whose card pays for everything."""
    made = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=made)["data"][0]["id"]
    sandbox.post(f"/v1/customers/{made}", {"invoice_settings[default_payment_method]": card})
    return str(made)


@pytest.fixture
def metered(sandbox: Driver) -> Json:
    """A price of 5 cents for each token."""
    sent = {"display_name": "Tokens", "event_name": "tokens", "default_aggregation[formula]": "sum"}
    meter = sandbox.post("/v1/billing/meters", sent)["id"]
    return sandbox.price(5, name="Tokens", **{"recurring[usage_type]": "metered", "recurring[meter]": meter})


def subscribe(sandbox: Driver, customer: str, *prices: Json, **more: object) -> Json:
    items = {f"items[{number}][price]": price["id"] for number, price in enumerate(prices)}
    return sandbox.post("/v1/subscriptions", {"customer": customer, **items, **more})


def use(sandbox: Driver, customer: str, value: str) -> None:
    sent = {"event_name": "tokens", "payload[stripe_customer_id]": customer, "payload[value]": value}
    sandbox.post("/v1/billing/meter_events", sent)


def newest(sandbox: Driver, customer: str) -> Json:
    return dict(sandbox.get("/v1/invoices", customer=customer)["data"][0])


@pytest.mark.parametrize(("used", "amount"), [("0", 0), ("300", 1500), ("20.1", 101), ("20.09", 100), ("-4", 0)])
def test_a_renewal_bills_the_usage_of_the_period_before(
    sandbox: Driver, customer: str, metered: Json, used: str, amount: int
) -> None:
    begun = subscribe(sandbox, customer, sandbox.price(2900), metered)
    assert newest(sandbox, customer)["total"] == 2900
    item = next(one for one in begun["items"]["data"] if one["price"]["id"] == metered["id"])
    assert "quantity" not in item
    use(sandbox, customer, used)
    would = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    sandbox.pass_by(31)
    invoice = newest(sandbox, customer)
    assert (invoice["status"], invoice["total"], would["total"]) == ("paid", 2900 + amount, 2900 + amount)
    line = next(
        one
        for one in invoice["lines"]["data"]
        if one["parent"]["subscription_item_details"]["subscription_item"] == item["id"]
    )
    assert line["amount"] == amount
    assert line["period"] == {"start": item["current_period_start"], "end": item["current_period_end"]}
    assert line["pricing"]["unit_amount_decimal"] == "5"
    sandbox.pass_by(31)
    assert newest(sandbox, customer)["total"] == 2900


def test_the_usage_of_a_trial_is_free(sandbox: Driver, customer: str, metered: Json) -> None:
    subscribe(sandbox, customer, metered, trial_period_days=7)
    use(sandbox, customer, "300")
    sandbox.pass_by(8)
    assert newest(sandbox, customer)["total"] == 0
    use(sandbox, customer, "100")
    sandbox.pass_by(31)
    assert newest(sandbox, customer)["total"] == 500


def test_the_end_of_a_plan_bills_what_was_used(sandbox: Driver, customer: str, metered: Json) -> None:
    begun = subscribe(sandbox, customer, metered)
    use(sandbox, customer, "40")
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"cancel_at_period_end": "true"})
    would = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    sandbox.pass_by(32)
    assert sandbox.get(f"/v1/subscriptions/{begun['id']}")["status"] == "canceled"
    invoice = newest(sandbox, customer)
    assert (invoice["status"], invoice["total"], would["total"]) == ("paid", 200, 200)


@pytest.mark.parametrize(("invoice_now", "total"), [("true", 200), ("false", 0)])
def test_who_ends_at_once_is_billed_when_that_is_asked_for(
    sandbox: Driver, customer: str, metered: Json, invoice_now: str, total: int
) -> None:
    begun = subscribe(sandbox, customer, metered)
    use(sandbox, customer, "40")
    sandbox.pass_by(1)
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}", {"invoice_now": invoice_now})
    assert newest(sandbox, customer)["total"] == total


def test_where_usage_would_not_be_billed_it_is_not_sold(sandbox: Driver, customer: str, metered: Json) -> None:
    sold = {"mode": "subscription", "line_items[0][price]": metered["id"], "line_items[0][quantity]": 1}
    sold |= {"success_url": "http://127.0.0.1:9/done"}
    assert sandbox.error("POST", "/v1/checkout/sessions", sold)[1]["param"] == "line_items"
    order = {"customer": customer, "items[0][price]": metered["id"], "items[0][quantity]": 2}
    assert sandbox.error("POST", "/v1/subscriptions", order)[1]["param"] == "items[0][quantity]"
    begun = subscribe(sandbox, customer, metered)
    path = f"/v1/subscriptions/{begun['id']}"
    item = begun["items"]["data"][0]["id"]
    for change in ({"quantity": 2}, {"deleted": "true"}, {"price": sandbox.price()["id"]}):
        sent = {"items[0][id]": item} | {f"items[0][{name}]": value for name, value in change.items()}
        assert sandbox.error("POST", path, sent)[0] == 400
    plain = subscribe(sandbox, customer, sandbox.price())
    added = {"items[0][price]": metered["id"]}
    assert sandbox.error("POST", f"/v1/subscriptions/{plain['id']}", added)[1]["param"] == "items[0][price]"
