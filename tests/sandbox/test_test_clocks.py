"""Test clocks: their customers live by them, whatever the sandbox's own clock says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
JANUARY = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
CLOCKS = "/v1/test_helpers/test_clocks"


@pytest.fixture
def clock(sandbox: Driver) -> Json:
    return sandbox.post(CLOCKS, {"frozen_time": JANUARY, "name": "A year"})


def _on(sandbox: Driver, clock: Json, **more: Any) -> Json:
    """Begin a plan of a customer who lives by a clock."""
    customer = sandbox.post("/v1/customers", {"test_clock": clock["id"], "payment_method": "pm_card_visa"})
    card = sandbox.get("/v1/payment_methods", customer=customer["id"])["data"][0]["id"]
    order = {"customer": customer["id"], "items[0][price]": sandbox.price()["id"], "default_payment_method": card}
    return sandbox.post("/v1/subscriptions", order | more)


def _advance(sandbox: Driver, clock: Json, to: int) -> list[str]:
    """Advance a clock and wait until it is there; returns the states that were seen."""
    seen = [sandbox.post(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": to})["status"]]
    while seen[-1] != "ready":
        assert len(seen) < 10
        seen.append(sandbox.get(f"{CLOCKS}/{clock['id']}")["status"])
    return seen


def test_a_clock_is_made_and_stands_still(sandbox: Driver, clock: Json, wall: Wall) -> None:
    assert (clock["status"], clock["frozen_time"], clock["name"]) == ("ready", JANUARY, "A year")
    assert clock["deletes_after"] == wall.at + 30 * DAY
    sandbox.pass_by(10)
    assert sandbox.get(f"{CLOCKS}/{clock['id']}")["frozen_time"] == JANUARY
    assert [one["id"] for one in sandbox.get(CLOCKS)["data"]] == [clock["id"]]


def test_what_is_on_a_clock_is_dated_by_it(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock)
    customer = sandbox.get(f"/v1/customers/{begun['customer']}", **{"expand[]": "test_clock"})
    invoice = sandbox.latest_invoice(begun)
    assert customer["test_clock"] == clock
    assert (begun["test_clock"], invoice["test_clock"]) == (clock["id"], clock["id"])
    assert {customer["created"], begun["created"], invoice["created"], begun["billing_cycle_anchor"]} == {JANUARY}
    assert invoice["status_transitions"]["paid_at"] == JANUARY


def test_an_advance_takes_its_time(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock)
    seen = _advance(sandbox, clock, JANUARY + 32 * DAY)
    assert seen[:2] == ["advancing", "advancing"]
    assert sandbox.get(f"{CLOCKS}/{clock['id']}")["frozen_time"] == JANUARY + 32 * DAY
    renewal = sandbox.latest_invoice(begun)
    assert (renewal["billing_reason"], renewal["created"]) == ("subscription_cycle", JANUARY + 31 * DAY)
    kinds = [event["type"] for event in sandbox.events(type="test_helpers.test_clock.*")]
    assert kinds == [f"test_helpers.test_clock.{word}" for word in ("created", "advancing", "ready")]
    moving = sandbox.events(type="test_helpers.test_clock.advancing")[0]["data"]["object"]
    assert moving["status_details"] == {"advancing": {"target_frozen_time": JANUARY + 32 * DAY}}


def test_the_two_times_do_not_touch(sandbox: Driver, clock: Json) -> None:
    there, here = _on(sandbox, clock), sandbox.begin()
    sandbox.pass_by(40)
    assert sandbox.latest_invoice(there)["billing_reason"] == "subscription_create"
    renewed = sandbox.latest_invoice(here)["id"]
    _advance(sandbox, clock, JANUARY + 50 * DAY)
    assert sandbox.latest_invoice(there)["billing_reason"] == "subscription_cycle"
    assert sandbox.latest_invoice(here)["id"] == renewed


def test_changes_retries_and_ends_are_by_the_clock(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock, trial_period_days=10)
    _advance(sandbox, clock, JANUARY + 10 * DAY)
    _advance(sandbox, clock, JANUARY + 25 * DAY + DAY // 2)
    sandbox.change(begun, quantity=2, proration_behavior="always_invoice")
    assert sandbox.latest_invoice(begun)["amount_paid"] == 1450
    preview = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    assert (preview["created"], preview["total"]) == (JANUARY + 41 * DAY, 5800)
    sandbox.change(begun, default_payment_method=sandbox.card(begun, "pm_card_chargeCustomerFail"))
    _advance(sandbox, clock, JANUARY + 44 * DAY)
    assert sandbox.latest_invoice(begun)["attempt_count"] == 3
    _advance(sandbox, clock, JANUARY + 60 * DAY)
    after = sandbox.subscription(begun)
    assert (after["status"], after["ended_at"]) == ("canceled", JANUARY + 48 * DAY)


def test_lists_leave_out_what_is_on_a_clock(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock)
    for path in ("/v1/customers", "/v1/subscriptions"):
        assert sandbox.get(path)["data"] == []
        assert len(sandbox.get(path, test_clock=clock["id"])["data"]) == 1
    assert len(sandbox.get("/v1/subscriptions", customer=begun["customer"])["data"]) == 1


def test_a_clock_that_is_moving_is_left_alone(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock)
    path = f"{CLOCKS}/{clock['id']}"
    sandbox.post(f"{path}/advance", {"frozen_time": JANUARY + DAY})
    assert sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", {"metadata[a]": "b"})[0] == 400
    assert sandbox.get(path)["status"] == "ready"
    sandbox.change(begun, **{"metadata[a]": "b"})
    sandbox.post(f"{path}/advance", {"frozen_time": JANUARY + 2 * DAY})
    assert sandbox.error("POST", f"{path}/advance", {"frozen_time": JANUARY + 3 * DAY})[0] == 400


def test_a_clock_moves_forward_and_not_too_far(sandbox: Driver, clock: Json) -> None:
    path = f"{CLOCKS}/{clock['id']}/advance"
    assert sandbox.error("POST", path, {"frozen_time": JANUARY})[1]["param"] == "frozen_time"
    assert sandbox.error("POST", path, {"frozen_time": JANUARY + 3 * 365 * DAY})[0] == 400
    _on(sandbox, clock)
    assert sandbox.error("POST", path, {"frozen_time": JANUARY + 60 * DAY})[0] == 400
    assert sandbox.post(path, {"frozen_time": JANUARY + 59 * DAY})["status"] == "advancing"


def test_a_clock_takes_its_customers_with_it(sandbox: Driver, clock: Json) -> None:
    begun = _on(sandbox, clock)
    assert sandbox.call("DELETE", f"{CLOCKS}/{clock['id']}")["deleted"] is True
    ended = sandbox.subscription(begun)
    assert (ended["status"], ended["ended_at"]) == ("canceled", JANUARY)
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["deleted"] is True
    assert sandbox.get(CLOCKS)["data"] == []
    assert sandbox.error("GET", f"{CLOCKS}/{clock['id']}")[0] == 404
    assert sandbox.error("POST", "/v1/customers", {"test_clock": clock["id"]})[0] == 400


def test_a_checkout_of_a_customer_on_a_clock(sandbox: Driver, clock: Json) -> None:
    customer = sandbox.post("/v1/customers", {"test_clock": clock["id"]})
    paid = sandbox.paid(sandbox.session(customer=customer["id"]))
    assert sandbox.get(f"/v1/subscriptions/{paid['subscription']}")["created"] == JANUARY


def test_a_discount_lasts_by_the_clock(sandbox: Driver, clock: Json) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 50, "duration": "repeating", "duration_in_months": 1})["id"]
    begun = _on(sandbox, clock, **{"discounts[0][coupon]": coupon})
    assert len(begun["discounts"]) == 1
    sandbox.pass_by(4 * 365)
    assert sandbox.subscription(begun)["discounts"] == begun["discounts"]
    assert sandbox.get("/v1/subscriptions", test_clock=clock["id"])["data"][0]["discounts"] == begun["discounts"]
    sandbox.post(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": JANUARY + DAY})
    assert sandbox.subscription(begun)["discounts"] == begun["discounts"]  # The clock is moving.
