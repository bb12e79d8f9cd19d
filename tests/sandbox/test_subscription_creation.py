"""What a subscription that is begun through the API may be given: an end, a billing day, a card to keep, a trial."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
START = int(datetime(2027, 1, 20, 9, 30, tzinfo=UTC).timestamp())
PREVIEW = "/v1/invoices/create_preview"


@pytest.fixture(autouse=True)
def _january(wall: Wall) -> None:
    wall.at = START


def _cardless(sandbox: Driver, price: Json | None = None, **more: Any) -> Json:
    """Return the parameters for a plan of somebody who has no card."""
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    return {"customer": customer, "items[0][price]": (price or sandbox.price())["id"], **more}


def _refused(sandbox: Driver, **more: Any) -> str:
    status, error = sandbox.error("POST", "/v1/subscriptions", _cardless(sandbox, trial_period_days=3) | more)
    assert status == 400
    return str(error["param"])


@pytest.mark.parametrize("setting", ["off", "on_subscription"])
def test_the_card_of_the_first_payment_pays_the_renewals_where_that_is_asked_for(sandbox: Driver, setting: str) -> None:
    """The usual way of a page of one's own: the intent of the first invoice is confirmed there."""
    order = _cardless(sandbox, payment_behavior="default_incomplete")
    begun = sandbox.post("/v1/subscriptions", order | {"payment_settings[save_default_payment_method]": setting})
    assert begun["payment_settings"]["save_default_payment_method"] == setting
    assert begun["status"] == "incomplete"
    (payment,) = sandbox.get("/v1/invoice_payments", invoice=begun["latest_invoice"])["data"]
    intent = payment["payment"]["payment_intent"]
    paid = sandbox.post(f"/v1/payment_intents/{intent}/confirm", {"payment_method": "pm_card_visa"})
    begun = sandbox.subscription(begun)
    assert begun["status"] == "active"
    kept = setting == "on_subscription"
    assert begun["default_payment_method"] == (paid["payment_method"] if kept else None)
    sandbox.pass_by(31)
    assert sandbox.subscription(begun)["status"] == ("active" if kept else "past_due")


def test_the_customers_card_is_kept_as_well(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    sandbox.post(f"/v1/customers/{customer}", {"invoice_settings[default_payment_method]": card})
    keep = {"payment_settings[save_default_payment_method]": "on_subscription"}
    order = _cardless(sandbox) | {"customer": customer} | keep
    begun = sandbox.post("/v1/subscriptions", order)
    assert (begun["status"], begun["default_payment_method"]) == ("active", card)


@pytest.mark.parametrize(
    ("sent", "days"), [({"cancel_at_period_end": "true"}, 31), ({"cancel_at": START + 62 * DAY}, 62)]
)
def test_a_plan_may_begin_with_its_end(sandbox: Driver, sent: Json, days: int) -> None:
    begun = sandbox.begin(**sent)
    assert (begun["status"], begun["cancel_at"], begun["canceled_at"]) == ("active", START + days * DAY, START)
    assert begun["cancel_at_period_end"] is ("cancel_at_period_end" in sent)
    assert sandbox.latest_invoice(begun)["total"] == 2900
    sandbox.pass_by(days)
    assert sandbox.subscription(begun)["status"] == "canceled"


@pytest.mark.parametrize(("behavior", "total"), [("create_prorations", 935), ("none", 2900)])
def test_an_end_within_the_first_period_is_billed_in_part(sandbox: Driver, behavior: str, total: int) -> None:
    begun = sandbox.begin(cancel_at=START + 10 * DAY, proration_behavior=behavior)
    assert sandbox.latest_invoice(begun)["total"] == total
    sandbox.pass_by(10)
    assert sandbox.subscription(begun)["status"] == "canceled"
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["balance"] == 0


@pytest.mark.parametrize(("behavior", "total"), [("create_prorations", 1029), ("always_invoice", 1029), ("none", 0)])
def test_the_first_whole_period_begins_on_the_day_that_was_chosen(sandbox: Driver, behavior: str, total: int) -> None:
    anchor = START + 11 * DAY
    sent: Json = {"billing_cycle_anchor": anchor, "proration_behavior": behavior}
    seen = sandbox.post(
        PREVIEW,
        {
            "subscription_details[items][0][price]": sandbox.price()["id"],
            "subscription_details[billing_cycle_anchor][type]": "timestamp",
            "subscription_details[billing_cycle_anchor][timestamp]": anchor,
            "subscription_details[proration_behavior]": behavior,
        },
    )
    begun = sandbox.begin(**sent)
    item = begun["items"]["data"][0]
    assert (begun["billing_cycle_anchor"], item["current_period_start"]) == (anchor, START)
    assert item["current_period_end"] == anchor
    assert sandbox.latest_invoice(begun)["total"] == seen["total"] == total
    sandbox.pass_by(11)
    line = sandbox.latest_invoice(begun)["lines"]["data"][0]
    assert (line["amount"], line["period"]["start"]) == (2900, anchor)


def test_a_change_before_the_billing_day_costs_its_part_of_a_whole_period(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(3100), billing_cycle_anchor=START + 12 * DAY)
    sandbox.pass_by(2)
    sandbox.change(begun, price=sandbox.price(6200)["id"], proration_behavior="always_invoice")
    amounts = [line["amount"] for line in sandbox.latest_invoice(begun)["lines"]["data"]]
    assert amounts == [-1000, 2000]


@pytest.mark.parametrize(
    ("config", "anchor"),
    [
        ({"day_of_month": 1}, datetime(2027, 2, 1, 9, 30, tzinfo=UTC)),
        ({"day_of_month": 25, "hour": 0, "minute": 0}, datetime(2027, 1, 25, tzinfo=UTC)),
        ({"day_of_month": 20, "hour": 9, "minute": 29}, datetime(2027, 2, 20, 9, 29, tzinfo=UTC)),
        ({"day_of_month": 1, "month": 2}, datetime(2027, 2, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_the_billing_day_may_be_a_day_of_the_month(sandbox: Driver, config: Json, anchor: datetime) -> None:
    begun = sandbox.begin(**{f"billing_cycle_anchor_config[{name}]": value for name, value in config.items()})
    assert begun["billing_cycle_anchor"] == int(anchor.timestamp())
    given = {name: value for name, value in begun["billing_cycle_anchor_config"].items() if value is not None}
    assert given == config


def test_a_billing_day_that_cannot_be(sandbox: Driver) -> None:
    order = _cardless(sandbox)
    for sent, param in (
        ({"billing_cycle_anchor": START}, "billing_cycle_anchor"),
        ({"billing_cycle_anchor": START + 32 * DAY}, "billing_cycle_anchor"),
        ({"billing_cycle_anchor": START + DAY, "trial_period_days": 3}, "billing_cycle_anchor"),
        ({"billing_cycle_anchor_config[day_of_month]": 1, "billing_cycle_anchor": START + DAY}, "billing_cycle_anchor"),
        ({"billing_cycle_anchor_config[day_of_month]": 1, "billing_cycle_anchor_config[month]": 6}, "billing_cycle_anchor_config"),
        ({"billing_cycle_anchor_config[day_of_month]": 30, "billing_cycle_anchor_config[month]": 2}, "billing_cycle_anchor_config[day_of_month]"),
    ):  # fmt: skip
        status, error = sandbox.error("POST", "/v1/subscriptions", order | sent)
        assert (status, error["param"]) == (400, param)


def test_what_else_can_be_said_of_a_new_plan(sandbox: Driver) -> None:
    begun = sandbox.begin(
        trial_end="now",
        **{
            "billing_mode[type]": "flexible",
            "items[0][metadata][seat]": "a",
            "payment_settings[payment_method_types][0]": "card",
        },
    )
    assert (begun["status"], begun["trial_end"]) == ("active", None)
    assert begun["items"]["data"][0]["metadata"] == {"seat": "a"}
    assert begun["payment_settings"]["payment_method_types"] == ["card"]
    assert _refused(sandbox, **{"billing_mode[type]": "classic"}) == "billing_mode[type]"


def test_nothing_is_ordered_yet(sandbox: Driver) -> None:
    begun = sandbox.post("/v1/subscriptions", _cardless(sandbox) | {"items[0][quantity]": 0})
    assert (begun["status"], begun["items"]["data"][0]["quantity"]) == ("active", 0)
    assert sandbox.latest_invoice(begun)["total"] == 0


def test_what_a_discount_takes_off_whole_needs_no_card(sandbox: Driver) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 100, "duration": "once"})["id"]
    begun = sandbox.post("/v1/subscriptions", _cardless(sandbox) | {"discounts[0][coupon]": coupon})
    invoice = sandbox.latest_invoice(begun)
    assert (begun["status"], invoice["status"], invoice["amount_due"]) == ("active", "paid", 0)


def test_what_the_balance_pays_needs_no_card(sandbox: Driver) -> None:
    """The credit of a plan that has ended pays for the next one."""
    first = sandbox.begin()
    sandbox.call("DELETE", f"/v1/subscriptions/{first['id']}", {"prorate": "true", "invoice_now": "true"})
    sandbox.post(f"/v1/payment_methods/{first['default_payment_method']}/detach")
    order = {"customer": first["customer"], "items[0][price]": sandbox.price(2000)["id"]}
    begun = sandbox.post("/v1/subscriptions", order)
    assert (begun["status"], sandbox.latest_invoice(begun)["amount_due"]) == ("active", 0)
    order["items[0][price]"] = sandbox.price(5000)["id"]
    assert sandbox.error("POST", "/v1/subscriptions", order)[1]["code"] == "resource_missing"


@pytest.mark.parametrize("at", [START + 731 * DAY, 253_402_300_799])
def test_a_trial_of_more_than_two_years(sandbox: Driver, at: int) -> None:
    assert _refused(sandbox, trial_period_days=None, trial_end=at) == "trial_end"
    begun = sandbox.begin()
    assert sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", {"trial_end": at})[1]["param"] == "trial_end"
    asked = {"subscription_details[items][0][price]": sandbox.price()["id"], "subscription_details[trial_end]": at}
    assert sandbox.error("POST", PREVIEW, asked)[0] == 400
    page = {
        "mode": "subscription",
        "line_items[0][price]": sandbox.price()["id"],
        "line_items[0][quantity]": 1,
        "success_url": "http://127.0.0.1:9/return",
        "subscription_data[trial_end]": at,
    }
    assert sandbox.error("POST", "/v1/checkout/sessions", page)[1]["param"] == "subscription_data[trial_end]"


def test_time_beyond_the_calendar(sandbox: Driver) -> None:
    clocks, last = "/v1/test_helpers/test_clocks", 253_400_000_000
    assert sandbox.error("POST", clocks, {"frozen_time": last})[1]["param"] == "frozen_time"
    phases: Json = {}
    for number in range(10):
        phases |= {
            f"phases[{number}][items][0][price]": sandbox.price()["id"],
            f"phases[{number}][duration][interval]": "year",
            f"phases[{number}][duration][interval_count]": 1095,
        }
    customer = sandbox.begin()["customer"]
    order = {"customer": customer, "start_date": "now", "end_behavior": "release"}
    status, error = sandbox.error("POST", "/v1/subscription_schedules", order | phases)
    assert (status, error["type"]) == (400, "invalid_request_error")
