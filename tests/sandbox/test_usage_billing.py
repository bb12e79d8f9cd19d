"""Usage is billed in arrears: at the renewal, at the end, and never for a trial."""

import pytest

from tests.sandbox.driving import KEY, Driver, Json


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


def test_nobody_orders_a_number_of_what_is_metered(sandbox: Driver, customer: str, metered: Json) -> None:
    done = {"success_url": "http://127.0.0.1:9/done", "mode": "subscription"}
    sold = done | {"line_items[0][price]": metered["id"], "line_items[0][quantity]": 1}
    assert sandbox.error("POST", "/v1/checkout/sessions", sold)[1]["param"] == "line_items[0][quantity]"
    only = done | {"line_items[0][price]": metered["id"]}
    assert sandbox.error("POST", "/v1/checkout/sessions", only)[1]["param"] == "line_items"
    ordered = done | {"line_items[0][price]": sandbox.price()["id"]}
    assert sandbox.error("POST", "/v1/checkout/sessions", ordered)[1]["param"] == "line_items[0][quantity]"
    order = {"customer": customer, "items[0][price]": metered["id"], "items[0][quantity]": 2}
    assert sandbox.error("POST", "/v1/subscriptions", order)[1]["param"] == "items[0][quantity]"
    begun = subscribe(sandbox, customer, metered)
    path = f"/v1/subscriptions/{begun['id']}"
    item = begun["items"]["data"][0]["id"]
    for change in ({"quantity": 2}, {"deleted": "true"}, {"price": sandbox.price()["id"]}):
        sent = {"items[0][id]": item} | {f"items[0][{name}]": value for name, value in change.items()}
        assert sandbox.error("POST", path, sent)[0] == 400


def test_a_checkout_sells_usage_by_the_month_beside_a_plan_by_the_year(sandbox: Driver, metered: Json) -> None:
    plan = sandbox.price(39_200, interval="year")
    session = sandbox.session(plan, **{"line_items[1][price]": metered["id"]})
    assert session["amount_total"] == 39_200
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    assert "$392.00 / year" in page
    items = sandbox.get(f"/v1/checkout/sessions/{session['id']}/line_items")["data"]
    assert [one["quantity"] for one in items] == [1, None]
    begun = sandbox.get(f"/v1/subscriptions/{sandbox.paid(session)['subscription']}")
    use(sandbox, begun["customer"], "300")
    sandbox.pass_by(32)
    invoice = newest(sandbox, begun["customer"])
    assert [line["amount"] for line in invoice["lines"]["data"]] == [1500]
    ends = {one["price"]["recurring"]["interval"]: one["current_period_end"] for one in begun["items"]["data"]}
    assert ends["year"] - ends["month"] > 300 * 86400


@pytest.fixture
def tiered(sandbox: Driver) -> Json:
    """Ten tokens a month for nothing, then a tenth of a cent each."""
    sent = {"display_name": "Words", "event_name": "tokens", "default_aggregation[formula]": "sum"}
    return price_in_tiers(sandbox, sandbox.post("/v1/billing/meters", sent)["id"], "10", "0.1")


def price_in_tiers(sandbox: Driver, meter: str, included: str, unit: str) -> Json:
    product = sandbox.post("/v1/products", {"name": "Tokens"})["id"]
    sent = {
        "product": product,
        "currency": "usd",
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers[0][up_to]": included,
        "tiers[0][unit_amount]": 0,
        "tiers[1][up_to]": "inf",
        "tiers[1][unit_amount_decimal]": unit,
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": meter,
        "expand[0]": "tiers",
    }
    return sandbox.post("/v1/prices", sent)


def told(invoice: Json) -> list[tuple[str, int]]:
    return [(line["description"], line["amount"]) for line in invoice["lines"]["data"]]


def test_tiers_are_told_when_they_are_asked_for(sandbox: Driver, tiered: Json) -> None:
    assert (tiered["unit_amount"], tiered["unit_amount_decimal"], tiered["tiers_mode"]) == (None, None, "graduated")
    first, last = tiered["tiers"]
    assert (first["up_to"], first["unit_amount"], first["unit_amount_decimal"]) == (10, 0, "0")
    assert (last["up_to"], last["unit_amount"], last["unit_amount_decimal"]) == (None, None, "0.1")
    assert last["flat_amount"] is None
    assert "tiers" not in sandbox.get(f"/v1/prices/{tiered['id']}")


@pytest.mark.parametrize(
    ("used", "lines"),
    [
        ("0", [("0 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0)]),
        ("10", [("10 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0)]),
        (
            "25",
            [
                ("10 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0),
                ("15 \u00d7 Tokens (Tier 2 at $0.001 / month)", 2),
            ],
        ),
        (
            "1234567",
            [
                ("10 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0),
                ("1234557 \u00d7 Tokens (Tier 2 at $0.001 / month)", 123_456),
            ],
        ),
    ],
)
def test_each_tier_that_is_reached_is_a_line(
    sandbox: Driver, customer: str, tiered: Json, used: str, lines: list[tuple[str, int]]
) -> None:
    subscribe(sandbox, customer, tiered)
    use(sandbox, customer, used)
    sandbox.pass_by(31)
    assert told(newest(sandbox, customer)) == lines


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"tiers[1][up_to]": "20"}, "tiers"),
        ({"tiers[0][up_to]": "inf"}, "tiers"),
        ({"tiers[1][unit_amount_decimal]": "0.1", "tiers[1][unit_amount]": 1}, "tiers[1][unit_amount]"),
        ({"unit_amount": 5}, "unit_amount"),
        ({"billing_scheme": "per_unit"}, "tiers"),
        ({"recurring[usage_type]": "licensed", "recurring[meter]": None}, "billing_scheme"),
        ({"tiers_mode": "volume"}, "tiers_mode"),
        ({"tiers[1][unit_amount_decimal]": "1e-3"}, "tiers[1][unit_amount_decimal]"),
    ],
)
def test_tiers_that_make_no_sense_are_refused(sandbox: Driver, tiered: Json, wrong: Json, param: str) -> None:
    sent = {
        "product": tiered["product"],
        "currency": "usd",
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers[0][up_to]": "10",
        "tiers[0][unit_amount]": 0,
        "tiers[1][up_to]": "inf",
        "tiers[1][unit_amount_decimal]": "0.1",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": tiered["recurring"]["meter"],
    } | wrong
    sent = {name: value for name, value in sent.items() if value is not None}
    assert sandbox.error("POST", "/v1/prices", sent)[1]["param"] == param


def test_another_metered_price_bills_what_was_used_at_the_old_one_and_counts_from_there(
    sandbox: Driver, customer: str, tiered: Json
) -> None:
    plan = sandbox.price(4900)
    begun = subscribe(sandbox, customer, plan, tiered)
    item = next(one["id"] for one in begun["items"]["data"] if one["price"]["id"] == tiered["id"])
    cheaper = price_in_tiers(sandbox, tiered["recurring"]["meter"], "1000", "10")
    use(sandbox, customer, "2010")
    sandbox.pass_by(10)
    change = {"items[0][id]": item, "items[0][price]": cheaper["id"], "proration_behavior": "always_invoice"}
    asked = {
        f"subscription_details[{name.replace('[', '][', 1) if '[' in name else name + ']'}": value
        for name, value in change.items()
    }
    would = sandbox.post("/v1/invoices/create_preview", asked | {"subscription": begun["id"]})
    changed = sandbox.post(f"/v1/subscriptions/{begun['id']}", change)
    invoice = newest(sandbox, customer)
    assert told(invoice) == told(would)
    assert told(invoice) == [
        ("10 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0),
        ("2000 \u00d7 Tokens (Tier 2 at $0.001 / month)", 200),
    ]
    assert (invoice["status"], invoice["total"], would["total"]) == ("paid", 200, 200)
    assert "quantity" not in changed["items"]["data"][1]
    use(sandbox, customer, "1001")
    sandbox.pass_by(25)
    assert told(newest(sandbox, customer)) == [
        ("1 \u00d7 Pro (at $49.00 / month)", 4900),
        ("1000 \u00d7 Tokens (Tier 1 at $0.00 / month)", 0),
        ("1 \u00d7 Tokens (Tier 2 at $0.10 / month)", 10),
    ]


def test_usage_is_not_billed_where_it_is_taken_away_without_proration(
    sandbox: Driver, customer: str, metered: Json
) -> None:
    begun = subscribe(sandbox, customer, sandbox.price(4900), metered)
    use(sandbox, customer, "40")
    item = next(one["id"] for one in begun["items"]["data"] if one["price"]["id"] == metered["id"])
    gone = {"items[0][id]": item, "items[0][deleted]": "true", "proration_behavior": "none"}
    sandbox.post(f"/v1/subscriptions/{begun['id']}", gone)
    sandbox.pass_by(31)
    assert newest(sandbox, customer)["total"] == 4900


def test_an_item_that_is_added_counts_from_then(sandbox: Driver, customer: str, metered: Json) -> None:
    begun = subscribe(sandbox, customer, sandbox.price(4900))
    use(sandbox, customer, "40")
    sandbox.pass_by(3)
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"items[0][price]": metered["id"]})
    assert newest(sandbox, customer)["total"] == 4900
    use(sandbox, customer, "2")
    sandbox.pass_by(31)
    assert newest(sandbox, customer)["total"] == 4900 + 10


@pytest.mark.parametrize(("behavior", "usage"), [("create_prorations", 200), ("none", 0)])
def test_a_phase_with_another_metered_price_bills_the_period_before(
    sandbox: Driver, customer: str, tiered: Json, behavior: str, usage: int
) -> None:
    plan = sandbox.price(4900)
    begun = subscribe(sandbox, customer, plan, tiered)
    cheaper = price_in_tiers(sandbox, tiered["recurring"]["meter"], "1000", "10")
    schedule = sandbox.post("/v1/subscription_schedules", {"from_subscription": begun["id"]})
    assert ["quantity" in item for item in schedule["phases"][0]["items"]] == [True, False]
    now = schedule["current_phase"]
    phases = {
        "phases[0][start_date]": now["start_date"],
        "phases[0][end_date]": now["end_date"],
        "phases[0][items][0][price]": plan["id"],
        "phases[0][items][1][price]": tiered["id"],
        "phases[1][items][0][price]": plan["id"],
        "phases[1][items][1][price]": cheaper["id"],
        "phases[1][duration][interval]": "month",
        "phases[1][proration_behavior]": behavior,
    }
    sandbox.post(f"/v1/subscription_schedules/{schedule['id']}", phases)
    use(sandbox, customer, "2010")
    sandbox.pass_until(now["end_date"] + 60)
    assert newest(sandbox, customer)["total"] == 4900 + usage
    use(sandbox, customer, "1010")
    sandbox.pass_by(31)
    assert newest(sandbox, customer)["total"] == 4900 + 100


def wait_as_draft(sandbox: Driver, seconds: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    assert sandbox.client.post("/_sandbox/draft_time", json={"seconds": seconds}, headers=headers).status_code == 200


def test_usage_that_is_reported_while_its_invoice_is_a_draft_comes_onto_it(
    sandbox: Driver, customer: str, tiered: Json
) -> None:
    wait_as_draft(sandbox, 3600)
    sandbox.post("/v1/coupons", {"id": "HALF", "percent_off": 50, "duration": "forever"})
    begun = subscribe(sandbox, customer, sandbox.price(4900), tiered, **{"discounts[0][coupon]": "HALF"})
    item = next(one for one in begun["items"]["data"] if one["price"]["id"] == tiered["id"])
    use(sandbox, customer, "1010")
    sandbox.pass_until(item["current_period_end"] + 60)
    draft = newest(sandbox, customer)
    assert (draft["status"], draft["total"]) == ("draft", 2500)
    assert draft["automatically_finalizes_at"] == item["current_period_end"] + 3600
    late = {"event_name": "tokens", "payload[stripe_customer_id]": customer, "payload[value]": "1000"}
    sandbox.post("/v1/billing/meter_events", late | {"timestamp": item["current_period_end"] - 1})
    use(sandbox, customer, "50000")
    sandbox.pass_by(1 / 24)
    invoice = newest(sandbox, customer)
    assert (invoice["id"], invoice["status"], invoice["total"]) == (draft["id"], "paid", 2550)
    assert sum(one["amount"] for one in invoice["total_discount_amounts"]) == 2550
    assert sandbox.subscription(begun)["status"] == "active"


def test_the_last_invoice_of_a_plan_that_ends_is_a_draft_for_its_time_as_well(
    sandbox: Driver, customer: str, metered: Json
) -> None:
    wait_as_draft(sandbox, 3600)
    begun = subscribe(sandbox, customer, metered)
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"cancel_at_period_end": "true"})
    end = begun["items"]["data"][0]["current_period_end"]
    sandbox.pass_until(end + 60)
    assert sandbox.subscription(begun)["status"] == "canceled"
    assert newest(sandbox, customer)["status"] == "draft"
    late = {"event_name": "tokens", "payload[stripe_customer_id]": customer, "payload[value]": "7"}
    sandbox.post("/v1/billing/meter_events", late | {"timestamp": end - 1})
    sandbox.pass_by(1 / 24)
    assert (newest(sandbox, customer)["status"], newest(sandbox, customer)["total"]) == ("paid", 35)
