"""What comes due by itself: in the order of time, and what fails touches nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest

from portal.sandbox import create_sandbox, renewing
from tests.sandbox.driving import KEY, Driver, Json, Receiver, Wall

DAY = 86400
JANUARY = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
FEBRUARY, MARCH = JANUARY + 31 * DAY, JANUARY + 59 * DAY
SCHEDULES = "/v1/subscription_schedules"
CLOCKS = "/v1/test_helpers/test_clocks"


@pytest.fixture(autouse=True)
def _new_year(wall: Wall) -> None:
    wall.at = JANUARY


def _plan(sandbox: Driver, customer: str, **more: Any) -> Json:
    """A schedule that begins in February."""
    sent = {
        "customer": customer,
        "start_date": FEBRUARY,
        "phases[0][items][0][price]": sandbox.price()["id"],
        "phases[0][duration][interval]": "month",
    }
    return sandbox.post(SCHEDULES, sent | more)


def _next_phase(sandbox: Driver, begun: Json, price: str, **more: Any) -> Json:
    """Let a subscription have this price from February on."""
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    sent = {
        "phases[0][items][0][price]": made["phases"][0]["items"][0]["price"],
        "phases[0][start_date]": JANUARY,
        "phases[0][end_date]": FEBRUARY,
        "phases[1][items][0][price]": price,
        "phases[1][duration][interval]": "month",
    }
    return sandbox.post(f"{SCHEDULES}/{made['id']}", sent | more)


def _break_renewals_of(monkeypatch: pytest.MonkeyPatch, subscription: Json) -> list[str]:
    """Let the renewals of a subscription fail when half of it is written; returns what was tried."""
    tried, move_on = [], renewing.move_on

    def moved(call: Any, broken: Json, items: list[Json]) -> None:
        move_on(call, broken, items)
        tried.append(broken["id"])
        if broken["id"] == subscription["id"]:
            raise RuntimeError("this one is broken")

    monkeypatch.setattr(renewing, "move_on", moved)
    return tried


def test_what_fails_is_set_aside_and_all_else_goes_on(sandbox: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = sandbox.begin(), sandbox.begin()
    tried = _break_renewals_of(monkeypatch, broken)
    sandbox.pass_until(MARCH)
    assert sandbox.latest_invoice(whole)["created"] == MARCH
    assert sandbox.subscription(broken) == broken  # Nothing of the renewal stays, and no foreign error is told.
    sandbox.post("/v1/customers")
    assert tried.count(broken["id"]) == 1
    assert b"Overview" in sandbox.client.get("/").data
    monkeypatch.undo()
    sandbox.change(broken, description="changed, and so it is tried again")
    sandbox.pass_by(1)
    assert sandbox.latest_invoice(broken)["created"] == MARCH


def test_events_are_delivered_whatever_fails(wall: Wall, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_sandbox(api_key=KEY, clock=wall, webhook_url=receiver.url, webhook_secret="whsec_tests")
    sandbox = Driver(app)
    try:
        broken = sandbox.begin()
        _break_renewals_of(monkeypatch, broken)
        monkeypatch.setattr("portal.sandbox.due.advance_clocks", lambda _: 1 / 0)
        sandbox.pass_until(FEBRUARY)
        customer = sandbox.post("/v1/customers", {"name": "after that"})
        with receiver.arrived:
            assert receiver.arrived.wait_for(
                lambda: any(customer["id"].encode() in body for _, body in receiver.received), 20
            )
    finally:
        app.extensions["sandbox"].close()


@pytest.mark.parametrize("by_test_clock", [False, True])
def test_a_schedule_begins_without_a_card(sandbox: Driver, by_test_clock: bool) -> None:
    sent = {"test_clock": sandbox.post(CLOCKS, {"frozen_time": JANUARY})["id"]} if by_test_clock else {}
    customer = sandbox.post("/v1/customers", sent)["id"]
    schedule = _plan(sandbox, customer)
    if by_test_clock:
        sandbox.post(f"{CLOCKS}/{sent['test_clock']}/advance", {"frozen_time": FEBRUARY})
        seen = [sandbox.get(f"{CLOCKS}/{sent['test_clock']}")["status"] for _ in range(2)]
        assert seen == ["advancing", "ready"]
    else:
        sandbox.pass_until(FEBRUARY)
    started = sandbox.get(f"{SCHEDULES}/{schedule['id']}")
    begun = sandbox.get(f"/v1/subscriptions/{started['subscription']}")
    invoice = sandbox.latest_invoice(begun)
    assert (begun["status"], begun["created"], begun["schedule"]) == ("past_due", FEBRUARY, schedule["id"])
    assert (invoice["status"], invoice["attempt_count"], invoice["amount_due"]) == ("open", 1, 2900)
    now = {"customer": customer, "start_date": "now", "phases[0][items][0][price]": sandbox.price()["id"]}
    assert sandbox.subscription({"id": sandbox.post(SCHEDULES, now)["subscription"]})["status"] == "past_due"


def test_a_schedule_whose_first_payment_is_refused_is_tried_again_and_completed(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_chargeCustomerFail"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    schedule = _plan(sandbox, customer, **{"default_settings[default_payment_method]": card})
    sandbox.pass_until(FEBRUARY)
    begun = sandbox.subscription({"id": sandbox.get(f"{SCHEDULES}/{schedule['id']}")["subscription"]})
    assert (begun["status"], sandbox.latest_invoice(begun)["attempt_count"]) == ("past_due", 1)
    sandbox.change(begun, default_payment_method=sandbox.card(begun))
    sandbox.pass_by(1)
    assert (sandbox.subscription(begun)["status"], sandbox.latest_invoice(begun)["status"]) == ("active", "paid")
    sandbox.pass_until(MARCH)
    done = sandbox.get(f"{SCHEDULES}/{schedule['id']}")
    assert (done["status"], done["released_subscription"]) == ("completed", begun["id"])


def test_a_schedule_that_is_never_paid_for_ends_as_the_policy_says(sandbox: Driver) -> None:
    sandbox.retry([], "cancel")
    schedule = _plan(sandbox, sandbox.post("/v1/customers")["id"])
    sandbox.pass_until(FEBRUARY)
    assert sandbox.get(f"{SCHEDULES}/{schedule['id']}")["status"] == "canceled"
    [begun] = sandbox.get("/v1/subscriptions", customer=schedule["customer"], status="all")["data"]
    assert (begun["status"], begun["cancellation_details"]["reason"]) == ("canceled", "payment_failed")


def test_a_schedule_goes_with_its_customer(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers")["id"]
    schedule = _plan(sandbox, customer)
    sandbox.call("DELETE", f"/v1/customers/{customer}")
    canceled = sandbox.get(f"{SCHEDULES}/{schedule['id']}")
    assert (canceled["status"], canceled["canceled_at"]) == ("canceled", JANUARY)
    assert sandbox.event_types()[-2:] == ["subscription_schedule.canceled", "customer.deleted"]
    sandbox.pass_until(FEBRUARY)
    assert sandbox.get(f"{SCHEDULES}/{schedule['id']}") == canceled


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"discounts][0][coupon": "nope"}, "discounts][0][coupon"),
        ({"discounts][0][coupon": "until-then"}, "discounts][0][coupon"),
        ({"discounts][0][promotion_code": "promo_nope"}, "discounts][0][promotion_code"),
        ({"discounts][0][discount": "di_nope"}, "discounts][0][discount"),
        ({"discounts][0][coupon": "half", "discounts][0][discount": "di_nope"}, "discounts][0"),
        ({"default_payment_method": "pm_nope"}, "default_payment_method"),
        ({"default_payment_method": "somebody's"}, "default_payment_method"),
    ],
)
def test_a_phase_is_checked_when_it_is_asked_for(sandbox: Driver, sent: Json, param: str) -> None:
    sandbox.post("/v1/coupons", {"id": "half", "percent_off": 50, "duration": "once"})
    sandbox.post("/v1/coupons", {"id": "until-then", "percent_off": 50, "duration": "once", "redeem_by": FEBRUARY})
    begun, others = sandbox.begin(), sandbox.begin()["default_payment_method"]
    price = sandbox.price(900)["id"]
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})
    phases = {
        "phases[0][items][0][price]": made["phases"][0]["items"][0]["price"],
        "phases[0][start_date]": JANUARY,
        "phases[0][end_date]": FEBRUARY,
        "phases[1][items][0][price]": price,
    } | {f"phases[1][{name}]": others if value == "somebody's" else value for name, value in sent.items()}
    status, error = sandbox.error("POST", f"{SCHEDULES}/{made['id']}", phases)
    assert (status, error["param"]) == (400, f"phases[1][{param}]")


def test_a_phase_is_in_the_currency_of_its_subscription(sandbox: Driver) -> None:
    begun = sandbox.begin()
    made = sandbox.post(SCHEDULES, {"from_subscription": begun["id"]})["id"]
    sent = {
        "phases[0][items][0][price]": sandbox.price(900, currency="eur")["id"],
        "phases[0][start_date]": JANUARY,
        "phases[0][end_date]": FEBRUARY,
    }
    status, error = sandbox.error("POST", f"{SCHEDULES}/{made}", sent)
    assert (status, error["param"]) == (400, "phases")


def test_a_phase_keeps_the_price_that_was_archived_meanwhile(sandbox: Driver) -> None:
    begun, price = sandbox.begin(), sandbox.price(900)["id"]
    schedule = _next_phase(sandbox, begun, price)
    sandbox.post(f"/v1/prices/{price}", {"active": "false"})
    # Whoever changes the schedule names all its phases again, but a new one cannot have that price.
    again = {
        "phases[0][items][0][price]": schedule["phases"][0]["items"][0]["price"],
        "phases[0][start_date]": JANUARY,
        "phases[0][end_date]": FEBRUARY,
        "phases[1][items][0][price]": price,
        "phases[1][description]": "cheaper",
    }
    sandbox.post(f"{SCHEDULES}/{schedule['id']}", again)
    customer = sandbox.post("/v1/customers")["id"]
    fresh = {"customer": customer, "start_date": FEBRUARY, "phases[0][items][0][price]": price}
    assert sandbox.error("POST", SCHEDULES, fresh)[1]["param"] == "phases[0][items][0][price]"
    sandbox.pass_until(FEBRUARY)
    assert sandbox.latest_invoice(begun)["amount_paid"] == 900
    assert sandbox.subscription(begun)["description"] == "cheaper"


def test_a_phase_that_fails_leaves_its_subscription_as_it_is(sandbox: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, other = sandbox.begin(), sandbox.begin()
    schedule = _next_phase(sandbox, begun, sandbox.price(900)["id"])
    monkeypatch.setattr("portal.sandbox.scheduling.apply_phase", lambda *_: 1 / 0)
    sandbox.pass_until(MARCH)
    assert (sandbox.latest_invoice(begun)["amount_paid"], sandbox.latest_invoice(begun)["created"]) == (2900, MARCH)
    assert sandbox.latest_invoice(other)["created"] == MARCH
    assert sandbox.get(f"{SCHEDULES}/{schedule['id']}")["current_phase"]["start_date"] == JANUARY
    # Its owner mends it.
    sandbox.post(f"{SCHEDULES}/{schedule['id']}/release")
    assert sandbox.subscription(begun)["schedule"] is None


def test_a_coupon_that_is_deleted_before_its_phase_begins_is_left_away(sandbox: Driver) -> None:
    begun = sandbox.begin()
    coupon = sandbox.post("/v1/coupons", {"percent_off": 50, "duration": "once"})["id"]
    _next_phase(sandbox, begun, sandbox.price(900)["id"], **{"phases[1][discounts][0][coupon]": coupon})
    sandbox.call("DELETE", f"/v1/coupons/{coupon}")
    assert sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})["total"] == 900
    sandbox.pass_until(FEBRUARY)
    assert sandbox.latest_invoice(begun)["amount_paid"] == 900


def test_a_card_that_was_detached_before_its_phase_begins_pays_nothing(sandbox: Driver) -> None:
    begun = sandbox.begin()
    card = sandbox.card(begun)
    _next_phase(sandbox, begun, sandbox.price(900)["id"], **{"phases[1][default_payment_method]": card})
    sandbox.post(f"/v1/payment_methods/{card}/detach")
    sandbox.pass_until(FEBRUARY)
    assert sandbox.subscription(begun)["default_payment_method"] == begun["default_payment_method"]
    assert sandbox.latest_invoice(begun)["amount_paid"] == 900


def _ordered(sandbox: Driver, first: int) -> list[Json]:
    told = sandbox.events()[first:]
    assert [one["created"] for one in told] == sorted(one["created"] for one in told)
    return told


def test_all_that_is_due_happens_in_the_order_of_time(sandbox: Driver) -> None:
    first = sandbox.begin(sandbox.price(1000))
    customer, card = first["customer"], first["default_payment_method"]
    order = {"customer": customer, "default_payment_method": card, "items[0][price]": sandbox.price(400)["id"]}
    sandbox.pass_by(1)
    second = sandbox.post("/v1/subscriptions", order)
    trial = sandbox.post("/v1/subscriptions", order | {"trial_end": FEBRUARY + 10 * DAY})
    schedule = _plan(sandbox, customer, **{"default_settings[default_payment_method]": card})
    refund = sandbox.post("/v1/customers", {"payment_method": "pm_card_pendingRefund"})["id"]
    paid = sandbox.post("/v1/payment_intents", {"amount": 900, "currency": "usd", "customer": refund, "confirm": "true",
        "payment_method": sandbox.get("/v1/payment_methods", customer=refund)["data"][0]["id"]})  # fmt: skip
    sandbox.post("/v1/refunds", {"payment_intent": paid["id"]})
    sandbox.post("/v1/quotes", {"expires_at": FEBRUARY + 5 * DAY})
    sandbox.session()
    sandbox.post(f"/v1/customers/{customer}", {"balance": -1200})
    number = len(sandbox.events())
    sandbox.pass_until(MARCH + 2 * DAY)
    told = _ordered(sandbox, number)
    invoices = [one["data"]["object"] for one in told if one["type"] == "invoice.paid"]
    begun = sandbox.get(f"{SCHEDULES}/{schedule['id']}")["released_subscription"]
    whose = [one["parent"]["subscription_details"]["subscription"] for one in invoices]
    names = {first["id"]: "first", second["id"]: "second", trial["id"]: "trial", begun: "scheduled"}
    assert [names[one] for one in whose] == [
        "scheduled", "first", "second", "trial", "first", "scheduled", "second",
    ]  # fmt: skip
    numbers = [one["number"] for one in invoices]
    assert numbers == sorted(numbers)
    # The credit goes to what was due first.
    assert [one["amount_due"] for one in invoices][:3] == [1700, 1000, 400]
    assert "customer.subscription.trial_will_end" in [one["type"] for one in told]


def test_a_year_of_many_is_carried_out_in_order_and_at_once(sandbox: Driver) -> None:
    price = sandbox.price()
    begun = []
    for _ in range(6):
        begun.append(sandbox.begin(price))
        sandbox.pass_by(3)
    number = len(sandbox.events())
    sandbox.pass_by(365)
    told = _ordered(sandbox, number)
    assert [one["type"] for one in told].count("invoice.paid") == 12 * len(begun)


@pytest.mark.parametrize("verb", ["change", "resume"])
def test_a_retry_that_failed_is_made_again_once_its_subscription_is_changed(
    sandbox: Driver, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    sandbox.pass_until(FEBRUARY)
    path = f"/v1/invoices/{sandbox.latest_invoice(begun)['id']}"
    monkeypatch.setattr("portal.sandbox.standing.collect", lambda *_: 1 / 0)
    sandbox.pass_by(1)
    monkeypatch.undo()
    assert sandbox.get(path)["attempt_count"] == 1
    if verb == "resume":
        sandbox.post(f"/v1/subscriptions/{begun['id']}/pause")
        assert sandbox.get(path)["attempt_count"] == 1
        sandbox.post(f"/v1/subscriptions/{begun['id']}/resume")
    else:
        sandbox.change(begun, description="changed, and so it is tried again")
    assert sandbox.get(path)["attempt_count"] == 2
