"""Idempotency keys: the first answer is kept, another request is refused, a refusal before the start leaves nothing."""

import json
import threading
from typing import Any

import pytest

from portal.sandbox.resources import customers
from tests.sandbox.driving import Driver, Wall


def test_the_first_answer_is_given_again(sandbox: Driver) -> None:
    first = sandbox.send("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    again = sandbox.send("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    assert again.data == first.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]
    assert again.headers["Idempotency-Key"] == "k"
    assert sandbox.count()["customer"] == 1


@pytest.mark.parametrize(
    ("path", "data"), [("/v1/customers", {"email": "b@b.co"}), ("/v1/products", {"email": "a@b.co"})]
)
def test_another_request_under_the_key(sandbox: Driver, path: str, data: dict[str, str]) -> None:
    sandbox.post("/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    response = sandbox.send("POST", path, data, Idempotency_Key="k")
    assert response.status_code == 400
    if path == "/v1/customers":
        assert json.loads(response.data)["error"]["type"] == "idempotency_error"


def test_the_order_of_parameters_is_the_same_request(sandbox: Driver) -> None:
    one = sandbox.post("/v1/customers", {"email": "a@b.co", "name": "Ann"}, Idempotency_Key="k")
    assert sandbox.post("/v1/customers", {"name": "Ann", "email": "a@b.co"}, Idempotency_Key="k") == one


def test_errors_after_the_start_are_kept(sandbox: Driver) -> None:
    order = {"product": "prod_later", "currency": "usd", "unit_amount": 100}
    assert sandbox.error("POST", "/v1/prices", order, Idempotency_Key="k")[0] == 400
    sandbox.post("/v1/products", {"id": "prod_later", "name": "Later"})
    replayed = sandbox.send("POST", "/v1/prices", order, Idempotency_Key="k")
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (400, "true")
    assert sandbox.send("POST", "/v1/prices", order, Idempotency_Key="k2").status_code == 200


def test_a_declined_card_is_kept(sandbox: Driver) -> None:
    order = {"amount": 500, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    first = sandbox.send("POST", "/v1/payment_intents", order, Idempotency_Key="k")
    again = sandbox.send("POST", "/v1/payment_intents", order, Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.data == first.data
    assert sandbox.count()["charge"] == 1


@pytest.mark.parametrize(
    ("data", "headers"),
    [({"emial": "x"}, {}), ({"balance": "x"}, {}), ({}, {"Authorization": "Bearer sk_test_wrong"})],
)
def test_refusals_before_the_start_are_not_kept(sandbox: Driver, data: dict[str, str], headers: dict[str, str]) -> None:
    assert sandbox.error("POST", "/v1/customers", data, Idempotency_Key="k", **headers)[0] in {400, 401}
    response = sandbox.send("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response.headers


def test_a_failure_of_the_sandbox_is_kept_and_leaves_nothing(sandbox: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(customers, "_apply", lambda *_: 1 / 0)
        status, error = sandbox.error("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    assert (status, error["type"]) == (500, "api_error")
    replayed = sandbox.send("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="k")
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (500, "true")
    assert "customer" not in sandbox.count()


def test_a_key_is_forgotten_after_a_day(sandbox: Driver, wall: Wall) -> None:
    first = sandbox.post("/v1/customers", Idempotency_Key="k")
    wall.at += 86399
    assert sandbox.post("/v1/customers", Idempotency_Key="k") == first
    wall.at += 1
    assert sandbox.post("/v1/customers", Idempotency_Key="k")["id"] != first["id"]


def test_long_keys_are_refused(sandbox: Driver) -> None:
    assert sandbox.send("POST", "/v1/customers", Idempotency_Key="k" * 255).status_code == 200
    assert sandbox.error("POST", "/v1/customers", Idempotency_Key="k" * 256)[0] == 400


def test_keys_do_not_touch_reads(sandbox: Driver) -> None:
    assert sandbox.call("GET", "/v1/customers", Idempotency_Key="k")["data"] == []
    sandbox.post("/v1/customers")
    assert len(sandbox.call("GET", "/v1/customers", Idempotency_Key="k")["data"]) == 1


def test_a_key_in_flight(sandbox: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold(*_: Any) -> None:
        entered.set()
        assert leave.wait(20)

    monkeypatch.setattr(customers, "_apply", hold)
    answers: list[int] = []

    def first() -> None:
        answers.append(Driver(sandbox.app).send("POST", "/v1/customers", Idempotency_Key="k").status_code)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(20)
    status, error = sandbox.error("POST", "/v1/customers", Idempotency_Key="k")
    leave.set()
    thread.join(20)
    assert (status, error["type"], error["code"]) == (409, "idempotency_error", "idempotency_key_in_use")
    assert answers == [200]
    assert sandbox.count()["customer"] == 1
