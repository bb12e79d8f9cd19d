"""Delivery of events: signed, retried, never in the way of anything else."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from flask import Flask

from portal.sandbox import create_sandbox, delivery
from portal.sandbox.chaos import deliveries
from portal.sandbox.delivery import KEPT_BODY_BYTES, post
from tests.sandbox.driving import KEY, Driver, Receiver, receiving

SECRET = "whsec_tests"
DELAYS = (0.02, 0.04, 0.08)


def _sandbox(receiver: Receiver, state: str = ":memory:", delays: tuple[float, ...] = DELAYS) -> Flask:
    return create_sandbox(state, KEY, webhook_url=receiver.url, webhook_secret=SECRET, retry_delays=delays)


@pytest.fixture
def driver(receiver: Receiver) -> Iterator[Driver]:
    app = _sandbox(receiver)
    yield Driver(app)
    app.extensions["sandbox"].close()


def _rows(driver: Driver, sql: str) -> list[Any]:
    return [tuple(row) for row in driver.app.extensions["sandbox"].store.query(sql)]


def _settled(driver: Driver, state: str, number: int = 1) -> None:
    """Wait until so many deliveries are in a state."""
    deadline = time.monotonic() + 20
    while _rows(driver, f"SELECT count(*) FROM deliveries WHERE state = '{state}'") != [(number,)]:  # noqa: S608  all of it is ours
        assert time.monotonic() < deadline, _rows(driver, "SELECT * FROM deliveries")
        threading.Event().wait(0.01)


def test_an_event_arrives_signed(driver: Driver, receiver: Receiver) -> None:
    before = int(time.time())
    customer = driver.post("/v1/customers", {"email": "a@b.co"})
    header, body = receiver.wait_for(1)[0]
    event = stripe.Webhook.construct_event(body, header, SECRET)
    assert (event.type, event.data.object["id"]) == ("customer.created", customer["id"])
    assert before <= int(header.split(",")[0].removeprefix("t=")) <= time.time()
    assert json.loads(body)["pending_webhooks"] == 1
    _settled(driver, "delivered")
    assert driver.events()[0]["pending_webhooks"] == 0
    assert driver.events(delivery_success="true") != []


def test_a_failure_is_tried_again_until_it_is_taken(driver: Driver, receiver: Receiver) -> None:
    receiver.statuses[:] = [500, 302, 404]
    receiver.location = "http://127.0.0.1:9/elsewhere"
    driver.post("/v1/customers")
    bodies = {body for _, body in receiver.wait_for(4)}
    assert len(bodies) == 1
    _settled(driver, "delivered")
    attempts = _rows(driver, "SELECT status, length(body), error FROM attempts ORDER BY id")
    assert attempts == [(status, KEPT_BODY_BYTES, None) for status in (500, 302, 404, 200)]


def test_it_is_given_up_in_the_end(driver: Driver, receiver: Receiver) -> None:
    receiver.statuses[:] = [500] * 50
    driver.post("/v1/customers")
    _settled(driver, "failed")
    assert len(receiver.received) == 1 + len(DELAYS)
    assert [event["type"] for event in driver.events(delivery_success="false")] == ["customer.created"]
    assert driver.events()[0]["pending_webhooks"] == 1
    assert "Failed" in driver.client.get("/").get_data(as_text=True)


def test_nobody_there(receiver: Receiver) -> None:
    outcome = post("http://127.0.0.1:9/hook", b"{}", {})
    assert (outcome.accepted, outcome.status) == (False, None)
    assert outcome.error
    assert outcome.error.startswith("ConnectionRefusedError")
    assert not post("http://127.0.0.1:99999/", b"", {}).accepted


def test_a_hanging_endpoint_stops_no_other(driver: Driver, receiver: Receiver) -> None:
    with receiving() as other:
        receiver.hold = threading.Event()
        data = {"url": other.url, "enabled_events[]": "*"}
        driver.post("/v1/webhook_endpoints", data)
        for _ in range(20):
            driver.post("/v1/customers")
        assert len(other.wait_for(20)) == 20
        assert receiver.received == []
        receiver.hold.set()
        receiver.wait_for(20)


def test_only_what_was_asked_for(receiver: Receiver) -> None:
    app = create_sandbox(api_key=KEY)
    driver = Driver(app)
    data = {"url": receiver.url, "enabled_events[0]": "product.created", "enabled_events[1]": "price.created"}
    endpoint = driver.post("/v1/webhook_endpoints", data)
    driver.price()
    driver.post("/v1/customers")
    receiver.wait_for(2)
    _settled(driver, "delivered", 2)
    assert sorted(receiver.types()) == ["price.created", "product.created"]
    header, body = receiver.received[0]
    stripe.Webhook.construct_event(body, header, endpoint["secret"])
    app.extensions["sandbox"].close()


def test_nothing_is_sent_to_a_disabled_or_deleted_endpoint(driver: Driver, receiver: Receiver) -> None:
    endpoint = driver.get("/v1/webhook_endpoints")["data"][0]
    path = f"/v1/webhook_endpoints/{endpoint['id']}"
    driver.post(path, {"disabled": "true"})
    driver.post("/v1/customers")
    assert _rows(driver, "SELECT count(*) FROM deliveries") == [(0,)]
    driver.post(path, {"disabled": "false"})
    receiver.statuses[:] = [500] * 50
    driver.post("/v1/customers")
    receiver.wait_for(1)
    driver.call("DELETE", path)
    _settled(driver, "canceled")


def test_secrets_are_shown_once(driver: Driver) -> None:
    created = driver.post("/v1/webhook_endpoints", {"url": "https://example.com/hook", "enabled_events[]": "*"})
    assert created["secret"].startswith("whsec_")
    assert "secret" not in driver.get(f"/v1/webhook_endpoints/{created['id']}")
    assert all("secret" not in endpoint for endpoint in driver.get("/v1/webhook_endpoints")["data"])


def test_a_restart_goes_on(receiver: Receiver, tmp_path: Path) -> None:
    state = str(tmp_path / "sandbox.db")
    receiver.statuses[:] = [500]
    app = _sandbox(receiver, state, delays=(0.3,))
    driver = Driver(app)
    customer = driver.post("/v1/customers", {"email": "a@b.co"})
    receiver.wait_for(1)
    while _rows(driver, "SELECT attempts FROM deliveries") != [(1,)]:
        threading.Event().wait(0.01)
    app.extensions["sandbox"].close()
    again = _sandbox(receiver, state, delays=(0.3,))
    receiver.wait_for(2)
    _settled(Driver(again), "delivered")
    assert Driver(again).get(f"/v1/customers/{customer['id']}") == customer
    assert len(Driver(again).get("/v1/webhook_endpoints")["data"]) == 1
    assert receiver.types() == ["customer.created"] * 2
    again.extensions["sandbox"].close()


def test_an_event_that_cannot_be_told_does_not_stop_the_others(
    driver: Driver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("this cannot be said in an older version")

    monkeypatch.setattr("portal.sandbox.delivery.in_version", fail)
    old = {"url": receiver.url, "enabled_events[0]": "*", "api_version": "2020-08-27"}
    driver.post("/v1/webhook_endpoints", old)
    for _ in range(20):  # There are fewer senders.
        driver.post("/v1/customers")
    receiver.wait_for(20)
    _settled(driver, "failed", 20)
    told = "SELECT DISTINCT error FROM attempts WHERE error IS NOT NULL"
    assert _rows(driver, told) == [("RuntimeError: this cannot be said in an older version",)]


def test_the_senders_outlive_what_goes_wrong(
    driver: Driver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, look_up = [], deliveries.of_delivery

    def fail(store: Any, delivery_id: int) -> Any:
        tried.append(delivery_id)
        if len(tried) <= delivery.SENDERS:
            raise RuntimeError("this cannot be looked up")
        return look_up(store, delivery_id)

    monkeypatch.setattr(deliveries, "of_delivery", fail)
    monkeypatch.setattr(delivery, "IDLE_SECONDS", 0.01)
    driver.post("/v1/customers")
    receiver.wait_for(1)
    assert len(tried) == delivery.SENDERS + 1


def test_what_goes_wrong_is_not_tried_again_at_once(
    driver: Driver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, look_up = [], deliveries.of_delivery

    def fail(store: Any, delivery_id: int) -> Any:
        tried.append(delivery_id)
        if delivery_id == tried[0]:
            raise RuntimeError("this cannot be looked up")
        return look_up(store, delivery_id)

    monkeypatch.setattr(deliveries, "of_delivery", fail)
    monkeypatch.setattr(delivery, "IDLE_SECONDS", 30)
    for _ in range(20):
        driver.post("/v1/customers")
    receiver.wait_for(19)
    assert tried.count(tried[0]) == 1
