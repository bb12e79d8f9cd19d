"""Faults in the delivery of events, seen from the endpoint; and sending again what was lost."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portal.sandbox import create_sandbox
from portal.sandbox.chaos.rules import EVENT_FAULTS
from tests.sandbox.driving import KEY, Driver, Json, Receiver
from tests.sandbox.test_chaos_calls import configure

SECRET = "whsec_tests"


@pytest.fixture
def driver(receiver: Receiver) -> Iterator[Driver]:
    app = create_sandbox(api_key=KEY, webhook_url=receiver.url, webhook_secret=SECRET, retry_delays=(0.02, 0.02, 0.02))
    yield Driver(app)
    app.extensions["sandbox"].close()


def disturb(driver: Driver, fault: str, match: str = "*", **more: Any) -> None:
    configure(driver, rules=[{"place": "events", "fault": fault, "match": match, **more}])


def bodies(receiver: Receiver, number: int) -> list[Json]:
    return [json.loads(body) for _, body in receiver.wait_for(number)]


def settled(driver: Driver) -> None:
    deadline = time.monotonic() + 20
    while driver.app.extensions["sandbox"].store.query("SELECT 1 FROM deliveries WHERE state = 'pending'"):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_duplicate(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "duplicate", count=2)
    driver.post("/v1/customers")
    settled(driver)
    assert len({body["id"] for body in bodies(receiver, 3)}) == 1
    assert len(receiver.received) == 3


def test_delay(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "delay", "customer.created", milliseconds=200)
    driver.post("/v1/customers")
    driver.post("/v1/products", {"name": "Pro"})
    settled(driver)
    assert receiver.types() == ["product.created", "customer.created"]


def test_reorder(driver: Driver, receiver: Receiver) -> None:
    """What is held back goes out behind the next event, long before its time of grace is over."""
    disturb(driver, "reorder", "customer.created", milliseconds=600_000)
    driver.post("/v1/customers")
    driver.post("/v1/products", {"name": "Pro"})
    bodies(receiver, 2)
    assert receiver.types() == ["product.created", "customer.created"]


def test_the_last_event_does_not_wait_for_ever(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "reorder", milliseconds=50)
    driver.post("/v1/customers")
    assert len(bodies(receiver, 1)) == 1


def test_drop_once_then_it_is_tried_again(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "drop")
    driver.post("/v1/customers")
    settled(driver)
    assert receiver.types() == ["customer.created"]
    attempts = driver.app.extensions["sandbox"].store.query("SELECT status, error FROM attempts ORDER BY id")
    assert [row["status"] for row in attempts] == [None, 200]
    assert attempts[0]["error"].startswith("Lost on the way")


def test_dropped_for_good_and_sent_again_by_hand(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "drop", count=1000)
    driver.post("/v1/customers")
    settled(driver)
    assert receiver.received == []
    event = driver.events(delivery_success="false")[0]["id"]
    answer = driver.client.post(f"/_sandbox/events/{event}/resend", headers={"Authorization": f"Bearer {KEY}"})
    assert json.loads(answer.data) == {"event": event, "deliveries": 1}
    assert bodies(receiver, 1)[0]["id"] == event
    settled(driver)
    assert driver.events(delivery_success="false") == []


def test_old_version(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "old_version", "customer.created", api_version="2024-06-20")
    driver.post("/v1/customers")
    assert bodies(receiver, 1)[0]["api_version"] == "2024-06-20"
    assert driver.events()[0]["api_version"] == "2026-10-28.endive"


def test_thin(driver: Driver, receiver: Receiver) -> None:
    disturb(driver, "thin")
    customer = driver.post("/v1/customers")
    told = bodies(receiver, 1)[0]
    assert (told["object"], told["type"]) == ("v2.core.event", "v1.customer.created")
    assert (told["related_object"]["id"], "data" in told) == (customer["id"], False)


def test_every_fault_has_its_test() -> None:
    tested = {name.removeprefix("test_").partition("_then")[0] for name in globals() if name.startswith("test_")}
    assert set(EVENT_FAULTS) - tested == {"drop"}, "drop has two"


def test_the_same_seed_disturbs_the_same_events(driver: Driver) -> None:
    rules = [
        {"place": "events", "fault": "duplicate", "chance": 30},
        {"place": "events", "fault": "delay", "chance": 5, "milliseconds": 1},
    ]
    found = []
    for seed in (3, 3, 4):
        configure(driver, seed=seed, rules=rules)
        for number in range(40):
            driver.post("/v1/products", {"name": f"Product {number}"})
        strikes = configure(driver)["strikes"]
        found.append([(strike["fault"], strike["subject"]) for strike in strikes])
    assert found[0] == found[1]
    assert len(found[0]) > 4
    assert len(found[2]) > 4


def test_what_is_taken_back_is_not_counted(driver: Driver) -> None:
    """An event that never was does not turn the dice."""
    disturb(driver, "duplicate")
    assert (
        driver.send("POST", "/v1/prices", {"currency": "usd", "unit_amount": 5, "product": "none"}).status_code == 400
    )
    assert configure(driver)["rules"][0]["met"] == 0


def test_only_to_an_endpoint_that_is_there(driver: Driver) -> None:
    driver.post("/v1/customers")
    event = driver.events()[0]["id"]
    headers = {"Authorization": f"Bearer {KEY}"}
    path = f"/_sandbox/events/{event}/resend"
    assert driver.client.post(path, json={"endpoint": "we_none"}, headers=headers).status_code == 400
    assert driver.client.post("/_sandbox/events/evt_none/resend", headers=headers).status_code == 404
    assert driver.client.post(path, json={"to": "we_none"}, headers=headers).status_code == 400
