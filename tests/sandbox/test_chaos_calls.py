"""Faults in calls: each does what it says, to the calls it is meant for, and the same again by the same seed."""

import json
from typing import Any

import pytest
import requests

from portal.sandbox import create_sandbox
from portal.sandbox.chaos.rules import CALL_FAULTS
from tests.live import serving
from tests.sandbox.driving import KEY, Driver, Wall

CREATE = "POST /v1/customers"
SENT = {"email": "a@b.co"}


def configure(driver: Driver, **settings: Any) -> dict[str, Any]:
    response = driver.client.post("/_sandbox/chaos", json=settings, headers={"Authorization": f"Bearer {KEY}"})
    assert response.status_code == 200, response.data
    return dict(json.loads(response.data))


def rule(fault: str, match: str = CREATE, **more: Any) -> dict[str, Any]:
    return {"place": "calls", "fault": fault, "match": match, "times": 1, **more}


def customers(driver: Driver) -> int:
    return driver.count().get("customer", 0)


# fault: what the first call meets (0: no whole answer), whether it had its effect, and what its key answers then.
FAULTS = {
    "drop_before": (0, 0, (200, False)),
    "drop_after": (0, 1, (200, True)),
    "reset": (0, 1, (200, True)),
    "delay": (200, 1, (200, True)),
    "conflict": (409, 0, (200, False)),
    "too_many": (429, 0, (200, False)),
    "error_before": (500, 0, (500, True)),
    "error_after": (500, 1, (500, True)),
}


def test_the_table_names_every_fault() -> None:
    assert set(FAULTS) == set(CALL_FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_and_the_same_call_again(sandbox: Driver, fault: str) -> None:
    status, made, (status_again, replayed) = FAULTS[fault]
    configure(sandbox, rules=[rule(fault, milliseconds=1)])
    assert _status(sandbox) == status
    assert customers(sandbox) == made
    again = sandbox.send("POST", "/v1/customers", SENT, Idempotency_Key="one")
    assert again.status_code == status_again
    assert (again.headers.get("Idempotent-Replayed") == "true") is replayed
    assert customers(sandbox) == (0 if fault == "error_before" else 1)
    assert len(sandbox.events()) == customers(sandbox)


def _status(sandbox: Driver) -> int:
    try:
        answer = sandbox.send("POST", "/v1/customers", SENT, Idempotency_Key="one")
        return answer.status_code if answer.data else 0
    except ConnectionResetError:
        return 0


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "reset"])
def test_a_real_client_sees_the_connection_end(sandbox: Driver, fault: str) -> None:
    configure(sandbox, rules=[rule(fault)])
    with serving(sandbox.app) as address, requests.Session() as session:
        session.auth = (KEY, "")
        session.get(f"{address}/v1/customers", timeout=20).raise_for_status()
        with pytest.raises(requests.RequestException):
            session.post(f"{address}/v1/customers", data=SENT, timeout=20)
        session.post(f"{address}/v1/customers", data=SENT, timeout=20).raise_for_status()
    assert customers(sandbox) == (1 if fault == "drop_before" else 2)


def test_refusals_look_like_stripes(sandbox: Driver) -> None:
    configure(sandbox, rules=[rule("too_many"), rule("conflict"), rule("error_before")])
    limited = sandbox.send("POST", "/v1/customers")
    assert limited.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    error = json.loads(limited.data)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "rate_limit")
    status, error = sandbox.error("POST", "/v1/customers", Idempotency_Key="one")
    assert (status, error["code"]) == (409, "idempotency_key_in_use")
    status, error = sandbox.error("POST", "/v1/customers", Idempotency_Key="one")
    assert (status, error["type"]) == (500, "api_error")
    assert customers(sandbox) == 0


def test_a_rule_strikes_where_and_when_it_says(sandbox: Driver) -> None:
    configure(sandbox, rules=[rule("too_many", "GET /v1/customers/*", skip=1, times=2)])
    made = sandbox.post("/v1/customers")["id"]
    path = f"/v1/customers/{made}"
    assert [sandbox.send("GET", path).status_code for _ in range(5)] == [200, 429, 429, 200, 200]
    assert sandbox.send("GET", "/v1/customers").status_code == 200
    (entry,) = configure(sandbox)["rules"]
    assert (entry["met"], entry["struck"]) == (5, 2)


def _statuses(driver: Driver) -> list[int]:
    return [driver.send("GET", "/v1/customers").status_code for _ in range(60)]


def test_the_same_seed_and_the_same_requests_give_the_same_faults() -> None:
    found = []
    for seed in (7, 7, 8):
        app = create_sandbox(api_key=KEY)
        driver = Driver(app)
        configure(driver, seed=seed, rules=[rule("too_many", "*", times=None, chance=30)])
        found.append(_statuses(driver))
        configure(driver, seed=seed)
        assert _statuses(driver) == found[-1], "set again, the seed begins anew"
        app.extensions["sandbox"].close()
    assert found[0] == found[1] != found[2]
    assert 8 <= found[0].count(429) <= 30


def test_the_seed_is_told_and_kept(sandbox: Driver) -> None:
    seed = configure(sandbox)["seed"]
    assert configure(sandbox, rate_limit=0)["seed"] == seed


def test_rate_limits_let_so_many_through_in_a_second(sandbox: Driver, wall: Wall) -> None:
    configure(sandbox, rate_limit=30)
    paths = ["/v1/customers"] * 26 + ["/v1/products"] * 5
    answers = [sandbox.send("GET", path) for path in paths]
    refused = [(number, answer.headers["Stripe-Rate-Limited-Reason"]) for number, answer in enumerate(answers)
               if answer.status_code == 429]  # fmt: skip
    assert refused == [(25, "endpoint-rate"), (30, "global-rate")]
    wall.at += 1
    assert sandbox.send("GET", "/v1/customers").status_code == 200


def test_all_of_it_can_be_ended(sandbox: Driver) -> None:
    configure(sandbox, rate_limit=1, rules=[rule("drop_before", "*", times=None)])
    answer = sandbox.client.delete("/_sandbox/chaos", headers={"Authorization": f"Bearer {KEY}"})
    ended = json.loads(answer.data)
    assert (ended["rules"], ended["rate_limit"]) == ([], 0)
    assert [sandbox.send("GET", "/v1/customers").status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    "settings",
    [
        {"rules": [{"place": "calls", "fault": "reorder"}]},
        {"rules": [{"place": "events", "fault": "drop_before"}]},
        {"rules": [{"place": "calls"}]},
        {"rules": [rule("delay", chance=101)]},
        {"rules": [rule("delay", often=3)]},
        {"seed": -1},
        {"seeds": 1},
        {"rate_limit": "many"},
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(sandbox: Driver, settings: Any) -> None:
    before = configure(sandbox, rules=[rule("conflict")])
    response = sandbox.client.post("/_sandbox/chaos", json=settings, headers={"Authorization": f"Bearer {KEY}"})
    assert response.status_code == 400
    assert configure(sandbox) == before


def test_strangers_break_nothing(sandbox: Driver) -> None:
    assert sandbox.client.post("/_sandbox/chaos", json={"rate_limit": 1}).status_code == 401
    assert configure(sandbox)["rate_limit"] == 0


def _reason(driver: Driver, path: str, quantity: int, item: str | None = None) -> str | None:
    sent = {"items[0][id]": item, "items[0][quantity]": quantity} if item else {"quantity": quantity}
    answer = driver.send("POST", path, sent)
    assert answer.status_code in (200, 429), answer.data
    return answer.headers.get("Stripe-Rate-Limited-Reason")


def test_a_subscriptions_quantity_is_changed_so_often_in_an_hour(sandbox: Driver, wall: Wall) -> None:
    wall.at -= wall.at % 3600
    begun, other = sandbox.begin(), sandbox.begin()
    items = [one["items"]["data"][0]["id"] for one in (begun, other)]
    plan, item = f"/v1/subscriptions/{begun['id']}", f"/v1/subscription_items/{items[0]}"
    configure(sandbox, rate_limit=1000)
    for number in range(200):
        wall.at += 1
        path, named = (item, None) if number % 2 else (plan, items[0])
        assert _reason(sandbox, path, 2 + number, named) is None
    wall.at += 1
    assert _reason(sandbox, plan, 999, items[0]) == "resource-specific"
    assert _reason(sandbox, item, 999) == "resource-specific"
    assert sandbox.subscription(begun)["items"]["data"][0]["quantity"] == 201
    # The same number again is no change, and what is said of something else is not counted.
    assert _reason(sandbox, plan, 201, items[0]) is None
    assert sandbox.post(plan, {"metadata[a]": "1"})["metadata"] == {"a": "1"}
    assert _reason(sandbox, f"/v1/subscription_items/{items[1]}", 2) is None
    sandbox.pass_seconds(3600)
    assert _reason(sandbox, plan, 999, items[0]) is None
