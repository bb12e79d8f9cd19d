"""What older requests still send, and Stripe's own command line with them: a token as `source`, a phase's `iterations`."""

from __future__ import annotations

import pytest

from tests.sandbox.driving import Driver

SCHEDULES = "/v1/subscription_schedules"
ENDIVE = {"Stripe-Version": "2026-10-28.endive"}


def test_a_token_becomes_the_card_that_pays(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"source": "tok_visa"})
    assert customer["default_source"].startswith("card_")
    bought = {"customer": customer["id"], "items[0][price]": sandbox.price()["id"]}
    assert sandbox.post("/v1/subscriptions", bought)["status"] == "active"
    sandbox.post(f"/v1/payment_methods/{customer['default_source']}/detach")
    assert sandbox.get(f"/v1/customers/{customer['id']}")["default_source"] is None


@pytest.mark.parametrize("token", ["tok_nobody", "pm_card_visa", ""])
def test_what_is_no_token_is_refused_and_makes_nobody(sandbox: Driver, token: str) -> None:
    status, error = sandbox.error("POST", "/v1/customers", {"source": token})
    assert (status, error["param"]) == (400, "source")
    assert sandbox.get("/v1/customers")["data"] == []


def test_iterations_count_the_prices_intervals_and_are_of_older_versions(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"source": "tok_visa"})["id"]
    phase = {"phases[0][items][0][price]": sandbox.price()["id"], "phases[0][iterations]": 3}
    sent = {"customer": customer, "start_date": "now"} | phase
    status, error = sandbox.error("POST", SCHEDULES, sent, **ENDIVE)
    assert (status, error["param"]) == (400, "phases[0][iterations]")
    both = sent | {"phases[0][duration][interval]": "month"}
    assert sandbox.error("POST", SCHEDULES, both)[0] == 400
    (made,) = sandbox.post(SCHEDULES, sent)["phases"]
    assert 89 <= (made["end_date"] - made["start_date"]) / 86_400 <= 92
