"""Subscription schedules: a plan that changes by itself, phase by phase."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
JANUARY = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
FEBRUARY, MARCH, APRIL = JANUARY + 31 * DAY, JANUARY + 59 * DAY, JANUARY + 90 * DAY
SCHEDULES = "/v1/subscription_schedules"
PREVIEW = "/v1/invoices/create_preview"


@pytest.fixture(autouse=True)
def _new_year(wall: Wall) -> None:
    wall.at = JANUARY


def _phase(number: int, price: str, quantity: int = 1, **more: Any) -> Json:
    """Return the parameters of a phase with one item."""
    sent = {"items][0][price": price, "items][0][quantity": quantity} | {
        name.replace("__", "]["): value for name, value in more.items()
    }
    return {f"phases[{number}][{name}]": value for name, value in sent.items()}


def _follow(sandbox: Driver, begun: Json, *phases: Json, **more: Any) -> Json:
    """Let a subscription follow a schedule: what it has until its period ends, then these phases."""
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    item, now = made["phases"][0]["items"][0], made["phases"][0]
    sent = _phase(0, item["price"], item["quantity"], start_date=now["start_date"], end_date=now["end_date"])
    for phase in phases:
        sent |= phase
    return sandbox.post(f"{SCHEDULES}/{made['id']}", sent | more)


def test_a_schedule_made_from_a_subscription_keeps_it_as_it_is(sandbox: Driver) -> None:
    begun = sandbox.begin()
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"], "metadata[why]": "downgrade"})
    assert (made["status"], made["end_behavior"], made["metadata"]) == ("active", "release", {"why": "downgrade"})
    assert made["current_phase"] == {"start_date": JANUARY, "end_date": FEBRUARY}
    assert made["phases"][0]["items"][0]["price"] == begun["items"]["data"][0]["price"]["id"]
    assert (made["subscription"], sandbox.subscription(begun)["schedule"]) == (begun["id"], made["id"])
    assert sandbox.event_types()[-2:] == ["subscription_schedule.created", "customer.subscription.updated"]
    assert sandbox.error("POST", SCHEDULES, {"from_subscription": begun["id"]})[0] == 400
    sandbox.pass_until(FEBRUARY)
    done = sandbox.get(f"{SCHEDULES}/{made['id']}")
    assert (done["status"], done["completed_at"], done["released_at"]) == ("completed", FEBRUARY, None)
    assert (done["released_subscription"], done["subscription"], done["current_phase"]) == (begun["id"], None, None)
    assert [one["data"]["object"] for one in sandbox.events(type="subscription_schedule.completed")] == [done]
    assert sandbox.events(type="subscription_schedule.released") == []
    assert sandbox.subscription(begun)["schedule"] is None
    assert sandbox.latest_invoice(begun)["amount_paid"] == 2900


def test_a_cheaper_plan_begins_with_the_next_period(sandbox: Driver) -> None:
    begun, starter = sandbox.begin(sandbox.price(9900)), sandbox.price(1900, name="Starter")["id"]
    sandbox.pass_by(12)
    schedule = _follow(sandbox, begun, _phase(1, starter, duration__interval="month"))
    assert [(one["start_date"], one["end_date"]) for one in schedule["phases"]] == [
        (JANUARY, FEBRUARY),
        (FEBRUARY, MARCH),
    ]
    assert sandbox.subscription(begun)["items"] == begun["items"]
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]})
    assert (seen["total"], seen["created"]) == (1900, FEBRUARY)
    assert sandbox.post(PREVIEW, {"schedule": schedule["id"]})["total"] == 1900
    sandbox.pass_until(FEBRUARY)
    after, invoice = sandbox.subscription(begun), sandbox.latest_invoice(begun)
    assert after["items"]["data"][0]["id"] == begun["items"]["data"][0]["id"]
    assert (invoice["billing_reason"], invoice["amount_paid"]) == ("subscription_cycle", 1900)
    assert [line["amount"] for line in invoice["lines"]["data"]] == [1900]
    told = [event for event in sandbox.events(type="subscription_schedule.updated") if event["created"] == FEBRUARY]
    assert told[0]["data"]["previous_attributes"] == {"current_phase": {"start_date": JANUARY, "end_date": FEBRUARY}}
    sandbox.pass_until(MARCH)
    assert sandbox.get(f"{SCHEDULES}/{schedule['id']}")["status"] == "completed"
    assert sandbox.latest_invoice(begun)["amount_paid"] == 1900


@pytest.mark.parametrize("interval", ["month", "year"])
def test_what_a_phase_adds_is_billed_by_the_renewal(sandbox: Driver, interval: str) -> None:
    plan, seats = (sandbox.price(amount, interval=interval)["id"] for amount in (1900, 500))
    begun = sandbox.begin(sandbox.price(9900))
    more = {"phases[1][items][1][price]": seats, "phases[1][items][1][quantity]": 3}
    _follow(sandbox, begun, _phase(1, plan, duration__interval=interval) | more)
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]})
    sandbox.pass_until(FEBRUARY)
    invoice, after = sandbox.latest_invoice(begun), sandbox.subscription(begun)
    assert sorted(line["amount"] for line in invoice["lines"]["data"]) == [1500, 1900]
    assert (invoice["billing_reason"], seen["total"], invoice["amount_paid"]) == ("subscription_cycle", 3400, 3400)
    ends = {(item["current_period_start"], item["current_period_end"]) for item in after["items"]["data"]}
    assert len(ends) == 1
    assert ends.pop()[0] == FEBRUARY


def test_another_rhythm_begins_with_the_next_period(sandbox: Driver) -> None:
    begun, yearly = sandbox.begin(), sandbox.price(29000, interval="year")["id"]
    _follow(sandbox, begun, _phase(1, yearly, duration__interval="year"))
    sandbox.pass_until(FEBRUARY)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["billing_reason"], [line["amount"] for line in invoice["lines"]["data"]]) == (
        "subscription_cycle",
        [29000],
    )
    item = sandbox.subscription(begun)["items"]["data"][0]
    assert item["current_period_start"] == FEBRUARY
    assert item["current_period_end"] == FEBRUARY + 365 * DAY


@pytest.mark.parametrize(
    ("behavior", "amounts"),
    [("create_prorations", [-1450, 4950, 9900]), ("none", [9900])],
)
def test_a_phase_begins_within_a_period(sandbox: Driver, behavior: str, amounts: list[int]) -> None:
    begun, business, middle = sandbox.begin(), sandbox.price(9900)["id"], JANUARY + 31 * DAY // 2
    schedule = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    price = begun["items"]["data"][0]["price"]["id"]
    sent = _phase(0, price, start_date=JANUARY, end_date=middle)
    sent |= _phase(1, business, end_date=APRIL, proration_behavior=behavior)
    sandbox.post(f"{SCHEDULES}/{schedule['id']}", sent)
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]})
    sandbox.pass_until(middle)
    assert sandbox.subscription(begun)["items"]["data"][0]["price"]["id"] == business
    sandbox.pass_until(FEBRUARY)
    invoice = sandbox.latest_invoice(begun)
    assert [line["amount"] for line in invoice["lines"]["data"]] == amounts
    assert seen["total"] == invoice["total"]


def test_a_phase_that_is_billed_at_once(sandbox: Driver) -> None:
    begun, middle = sandbox.begin(), JANUARY + 31 * DAY // 2
    schedule = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    price = begun["items"]["data"][0]["price"]["id"]
    sent = _phase(0, price, start_date=JANUARY, end_date=middle)
    sent |= _phase(1, price, 4, end_date=FEBRUARY, proration_behavior="always_invoice")
    sandbox.post(f"{SCHEDULES}/{schedule['id']}", sent)
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]})
    sandbox.pass_until(middle)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["total"], invoice["billing_reason"], seen["total"]) == (4350, "subscription_update", 4350)


def test_a_schedule_ends_its_subscription(sandbox: Driver) -> None:
    begun = sandbox.begin()
    price = begun["items"]["data"][0]["price"]["id"]
    schedule = _follow(sandbox, begun, _phase(1, price, duration__interval="month"), end_behavior="cancel")
    assert sandbox.subscription(begun)["cancel_at"] == MARCH
    sandbox.pass_until(MARCH)
    after, done = sandbox.subscription(begun), sandbox.get(f"{SCHEDULES}/{schedule['id']}")
    assert (after["status"], after["ended_at"]) == ("canceled", MARCH)
    assert (done["status"], done["completed_at"], done["current_phase"]) == ("completed", MARCH, None)
    assert len(sandbox.get("/v1/invoices", subscription=begun["id"])["data"]) == 2
    assert "subscription_schedule.completed" in sandbox.event_types()


def test_the_current_phase_can_be_changed(sandbox: Driver) -> None:
    begun = sandbox.begin()
    schedule = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    price, path = begun["items"]["data"][0]["price"]["id"], f"{SCHEDULES}/{schedule['id']}"
    sandbox.pass_by(15.5)
    more = _phase(0, price, 3, start_date=JANUARY, end_date=FEBRUARY)
    nested = {f"schedule_details[{name.partition('[')[0]}]{name[6:]}": value for name, value in more.items()}
    asked = {"schedule": schedule["id"], "schedule_details[proration_behavior]": "always_invoice"} | nested
    seen = sandbox.post(PREVIEW, asked)
    sandbox.post(path, more | {"proration_behavior": "always_invoice"})
    assert (seen["total"], sandbox.latest_invoice(begun)["total"]) == (2900, 2900)
    anew = sandbox.post(path, _phase(0, price, 1, start_date="now", end_date=MARCH))
    now = JANUARY + 31 * DAY // 2
    assert anew["current_phase"] == {"start_date": now, "end_date": MARCH}
    assert sandbox.subscription(begun)["items"]["data"][0]["quantity"] == 1


def test_a_change_beside_the_schedule_is_followed(sandbox: Driver) -> None:
    begun = sandbox.begin()
    schedule = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    sandbox.change(begun, quantity=7)
    assert sandbox.get(f"{SCHEDULES}/{schedule['id']}")["phases"][0]["items"][0]["quantity"] == 7
    for sent in ({"cancel_at_period_end": "true"}, {"cancel_at": MARCH}):
        assert sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", sent)[0] == 400


def test_a_schedule_is_released(sandbox: Driver) -> None:
    begun, starter = sandbox.begin(), sandbox.price(1900)["id"]
    schedule = _follow(sandbox, begun, _phase(1, starter, duration__interval="month"), end_behavior="cancel")
    after = sandbox.post(f"{SCHEDULES}/{schedule['id']}/release")
    assert (after["status"], after["released_at"]) == ("released", JANUARY)
    now = sandbox.subscription(begun)
    assert (now["schedule"], now["cancel_at"]) == (None, None)
    sandbox.pass_until(FEBRUARY)
    assert sandbox.latest_invoice(begun)["amount_paid"] == 2900
    for verb in ("release", "cancel"):
        assert sandbox.error("POST", f"{SCHEDULES}/{schedule['id']}/{verb}")[0] == 400
    assert sandbox.error("POST", f"{SCHEDULES}/{schedule['id']}", {"end_behavior": "cancel"})[0] == 400


def test_a_schedule_is_canceled_with_its_subscription(sandbox: Driver) -> None:
    begun = sandbox.begin()
    schedule = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    sandbox.pass_by(15.5)
    after = sandbox.post(f"{SCHEDULES}/{schedule['id']}/cancel")
    assert (after["status"], after["canceled_at"]) == ("canceled", JANUARY + 31 * DAY // 2)
    assert sandbox.subscription(begun)["status"] == "canceled"
    assert sandbox.latest_invoice(begun)["total"] == -1450
    other = sandbox.begin()
    second = sandbox.post(SCHEDULES, {"from_subscription": other["id"]})
    sandbox.call("DELETE", f"/v1/subscriptions/{other['id']}")
    assert sandbox.get(f"{SCHEDULES}/{second['id']}")["status"] == "canceled"


@pytest.mark.parametrize("start", ["now", MARCH])
def test_a_schedule_begins_a_subscription(sandbox: Driver, start: str | int) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    low, high = sandbox.price(1000)["id"], sandbox.price(2000)["id"]
    sent = {"customer": customer, "start_date": start, "default_settings[default_payment_method]": card}
    sent |= _phase(0, low, duration__interval="month", duration__interval_count=2) | _phase(1, high)
    made = sandbox.post(SCHEDULES, sent)
    if start == MARCH:
        assert (made["status"], made["subscription"]) == ("not_started", None)
        assert [one["id"] for one in sandbox.get(SCHEDULES, scheduled="true")["data"]] == [made["id"]]
        assert sandbox.error("POST", PREVIEW, {"schedule": made["id"]})[0] == 404
        sandbox.pass_until(MARCH)
        made = sandbox.get(f"{SCHEDULES}/{made['id']}")
    begun = sandbox.get(f"/v1/subscriptions/{made['subscription']}")
    assert (made["status"], begun["status"], begun["schedule"]) == ("active", "active", made["id"])
    assert begun["created"] == (MARCH if start == MARCH else JANUARY)
    paid = [sandbox.latest_invoice(begun)["amount_paid"]]
    for _ in range(3):
        sandbox.pass_until(sandbox.subscription(begun)["items"]["data"][0]["current_period_end"])
        paid.append(sandbox.latest_invoice(begun)["amount_paid"])
    assert paid == [1000, 1000, 2000, 2000]


def test_a_schedule_that_has_not_begun(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    sent = {"customer": customer, "start_date": MARCH} | _phase(0, sandbox.price()["id"])
    made = sandbox.post(SCHEDULES, sent)
    later = sandbox.post(f"{SCHEDULES}/{made['id']}", _phase(0, sandbox.price()["id"], start_date=APRIL))
    assert later["phases"][0]["start_date"] == APRIL
    assert sandbox.post(f"{SCHEDULES}/{made['id']}/cancel")["status"] == "canceled"
    sandbox.pass_until(APRIL)
    assert sandbox.get("/v1/subscriptions", customer=customer)["data"] == []


def test_a_phase_has_its_discount(sandbox: Driver) -> None:
    begun = sandbox.begin()
    half = sandbox.post("/v1/coupons", {"percent_off": 50, "duration": "forever"})["id"]
    price = begun["items"]["data"][0]["price"]["id"]
    cheap = _phase(1, price, duration__interval="month", discounts__0__coupon=half)
    _follow(sandbox, begun, cheap, _phase(2, price, duration__interval="month"))
    paid = []
    for _ in range(2):
        sandbox.pass_until(sandbox.subscription(begun)["items"]["data"][0]["current_period_end"])
        paid.append(sandbox.latest_invoice(begun)["amount_paid"])
    assert paid == [1450, 2900]


def test_a_schedule_on_a_test_clock(sandbox: Driver) -> None:
    clock = sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": JANUARY})
    customer = sandbox.post("/v1/customers", {"test_clock": clock["id"], "payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    order = {"customer": customer, "default_payment_method": card, "items[0][price]": sandbox.price(9900)["id"]}
    begun = sandbox.post("/v1/subscriptions", order)
    schedule = _follow(sandbox, begun, _phase(1, sandbox.price(1900)["id"], duration__interval="month"))
    assert schedule["test_clock"] == clock["id"]
    sandbox.pass_by(100)
    assert sandbox.latest_invoice(begun)["amount_paid"] == 9900
    sandbox.post(f"/v1/test_helpers/test_clocks/{clock['id']}/advance", {"frozen_time": FEBRUARY})
    sandbox.get("/v1/events")
    assert sandbox.latest_invoice(begun)["amount_paid"] == 1900


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({}, "customer"),
        ({"customer": "cus"}, "start_date"),
        ({"customer": "cus", "start_date": JANUARY - 1}, "start_date"),
        ({"customer": "cus", "start_date": "now"}, "phases"),
        ({"from_subscription": "sub_no", "start_date": "now"}, "start_date"),
        ({"from_subscription": "sub_no"}, "from_subscription"),
        ({"customer": "cus", "start_date": "now", "end_date": JANUARY}, "phases[0][end_date]"),
        ({"customer": "cus", "start_date": "now", "end_date": MARCH, "duration": True}, "phases[0][duration]"),
    ],
)
def test_schedules_that_cannot_be(sandbox: Driver, sent: Json, param: str) -> None:
    if "customer" in sent:
        sent = sent | {"customer": sandbox.post("/v1/customers")["id"]}
    end, duration = sent.pop("end_date", None), sent.pop("duration", None)
    if end is not None:
        more: dict[str, Any] = {"duration__interval": "month"} if duration else {}
        sent |= _phase(0, sandbox.price()["id"], end_date=end, **more)
    status, error = sandbox.error("POST", SCHEDULES, sent)
    assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("phase", "param"),
    [
        ({"start_date": JANUARY + 1, "end_date": FEBRUARY}, "phases[0][start_date]"),
        ({"end_date": FEBRUARY}, "phases[0][start_date]"),
        ({"start_date": JANUARY, "end_date": JANUARY + 5}, "phases"),
    ],
)
def test_changes_that_cannot_be(sandbox: Driver, phase: Json, param: str) -> None:
    begun = sandbox.begin()
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    sandbox.pass_by(1)
    sent = _phase(0, begun["items"]["data"][0]["price"]["id"], **phase)
    status, error = sandbox.error("POST", f"{SCHEDULES}/{made['id']}", sent)
    assert (status, error["param"]) == (400, param)
    assert sandbox.get(f"{SCHEDULES}/{made['id']}") == made


def _first_orders_only(sandbox: Driver, **more: Any) -> str:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 50, "duration": "once"})["id"]
    sent = {"promotion[type]": "coupon", "promotion[coupon]": coupon, "restrictions[first_time_transaction]": "true"}
    return str(sandbox.post("/v1/promotion_codes", sent | more)["id"])


def _with_code(sandbox: Driver, code: str, *, twice: bool) -> Json:
    """Begin a schedule of a new customer whose second phase has a code, and the first one as well if `twice`."""
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    price = sandbox.price(1000)["id"]
    sent = {"customer": customer, "start_date": "now", "default_settings[default_payment_method]": card}
    coded: dict[str, Any] = {"discounts__0__promotion_code": code}
    sent |= _phase(0, price, duration__interval="month", **(coded if twice else {}))
    return sandbox.post(SCHEDULES, sent | _phase(1, price, duration__interval="month", **coded))


@pytest.mark.parametrize(
    ("twice", "limits", "paid"),
    [(False, {}, [1000, 500]), (True, {}, [500, 500]), (True, {"max_redemptions": 1}, [500, 1000])],
)
def test_a_code_is_still_for_a_first_order_when_its_phase_begins(
    sandbox: Driver, twice: bool, limits: Json, paid: list[int]
) -> None:
    made = _with_code(sandbox, _first_orders_only(sandbox, **limits), twice=twice)
    begun = {"id": made["subscription"]}
    seen = [sandbox.latest_invoice(begun)["amount_paid"], sandbox.post(PREVIEW, {"schedule": made["id"]})["total"]]
    sandbox.pass_until(FEBRUARY)
    assert (seen, sandbox.latest_invoice(begun)["amount_paid"]) == (paid, paid[1])
    assert sandbox.get(f"{SCHEDULES}/{made['id']}")["current_phase"]["start_date"] == FEBRUARY


def test_a_code_is_for_a_first_order_when_its_phase_is_asked_for(sandbox: Driver) -> None:
    begun, code = sandbox.begin(), _first_orders_only(sandbox)
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    price = begun["items"]["data"][0]["price"]["id"]
    sent = _phase(0, price, start_date=JANUARY, end_date=FEBRUARY) | _phase(1, price, discounts__0__promotion_code=code)
    status, error = sandbox.error("POST", f"{SCHEDULES}/{made['id']}", sent)
    assert (status, error["param"]) == (400, "phases[1][discounts][0][promotion_code]")


def test_a_schedule_that_has_not_begun_may_change_its_currency(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    sent = {"customer": customer, "start_date": MARCH} | _phase(0, sandbox.price()["id"])
    made = sandbox.post(SCHEDULES, sent)
    euros = _phase(0, sandbox.price(currency="eur")["id"])
    assert sandbox.post(f"{SCHEDULES}/{made['id']}", euros)["phases"][0]["currency"] == "eur"
    # What else the customer has still counts.
    assert sandbox.error("POST", SCHEDULES, sent)[1]["param"] == "phases"
