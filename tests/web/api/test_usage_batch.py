"""Reporting many uses in one call: each comes to what it would come to alone, and the whole may be sent again."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal.core.database import db
from portal.credits.verify import verify
from portal.usage.models import UsageDay, UsageEvent
from tests.web.api.backend import Backend, error_of
from tests.web.api.test_usage import NOTHING, booked


def one(key: str, quantity: Any = 1, meter: str = "send_email", **more: Any) -> dict[str, Any]:
    return {"idempotency_key": key, "meter": meter, "quantity": quantity, **more}


def send(backend: Backend, *uses: dict[str, Any]) -> TestResponse:
    return backend.call("POST", "/usage/batch", json={"uses": list(uses)})


def results(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200
    body = answer.get_json()
    found = [result["result"] for result in body["data"]]
    assert {name: body[name] for name in ("recorded", "replayed", "refused")} == {
        name: Counter(found)[name] for name in ("recorded", "replayed", "refused")
    }
    return found


def test_each_use_has_its_own_result_in_order(backend: Backend) -> None:
    backend.use(quantity=2, key="before")
    answer = send(
        backend,
        one("a", 3),
        one("before", 2),
        one("before", 3),
        one("b", 1, "send_fax"),
        one("c", 20, "generate_campaign"),
        one("d", 95),
        one("a", 3),
        one("a", 4),
    )
    assert results(answer) == [
        "recorded",
        "replayed",
        "refused",
        "refused",
        "refused",
        "recorded",
        "replayed",
        "refused",
    ]
    data = answer.get_json()["data"]
    assert [result["idempotency_key"] for result in data] == ["a", "before", "before", "b", "c", "d", "a", "a"]
    codes = [result["error"]["code"] for result in data if result["result"] == "refused"]
    assert codes == ["key_reused", "unknown_meter", "insufficient_credits", "key_reused"]
    short = data[4]["error"]
    assert (short["balance"], short["cost"], short["shortfall"]) == (95, 100, 5)
    assert backend.team_id in short["buy_url"]
    assert [data[0]["usage"]["balance"], data[5]["usage"]["balance"]] == [95, 0]
    assert data[6]["usage"] == data[0]["usage"]
    assert booked(backend) == {"events": 3, "keys": 3, "spends": 3, "available": 0}


def test_a_use_of_a_batch_is_the_same_use_alone(backend: Backend) -> None:
    told = send(backend, one("a", 3)).get_json()["data"][0]["usage"]
    again = backend.use(quantity=3, key="a")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json() == told
    alone = backend.use(quantity=4, key="b")
    assert send(backend, one("b", 4)).get_json()["data"][0]["usage"] == alone.get_json()


def test_the_whole_may_be_sent_again(backend: Backend) -> None:
    uses = [one(f"order-{number}", 1 + number % 3) for number in range(60)]
    first = send(backend, *uses)
    kept = results(first)
    assert set(kept) == {"recorded", "refused"}
    after = booked(backend)
    again = send(backend, *uses)
    assert results(again) == ["replayed" if result == "recorded" else "refused" for result in kept]
    assert [result["usage"] for result in again.get_json()["data"]] == [
        result["usage"] for result in first.get_json()["data"]
    ]
    assert booked(backend) == after
    backend.give(1000, "bundle:more")
    assert set(results(send(backend, *uses))) == {"replayed", "recorded"}


def test_a_use_that_does_not_fit_holds_no_other_up(backend: Backend) -> None:
    answer = send(backend, one("a", 99), one("b", 2), one("c", 1), one("d", 1))
    assert results(answer) == ["recorded", "refused", "recorded", "refused"]
    assert booked(backend)["available"] == 0


def test_a_thousand_uses_are_one_batch(backend: Backend) -> None:
    backend.give(10_000, "bundle:more")
    answer = send(backend, *(one(f"order-{number}", 2) for number in range(1000)))
    assert set(results(answer)) == {"recorded"}
    assert booked(backend) == {"events": 1000, "keys": 1000, "spends": 1000, "available": 8_100}
    with backend.app.app_context():
        day = db.session.execute(select(UsageDay)).scalar_one()
        assert (day.quantity, day.cost, day.events) == (2000, 2000, 1000)
        entries = select(func.count(func.distinct(UsageEvent.entry_id)))
        assert db.session.execute(entries).scalar_one() == 1000
        assert not any(found.violations for found in verify())


@pytest.mark.parametrize(
    ("uses", "param"),
    [
        ([], "uses"),
        ([one(f"order-{number}") for number in range(1001)], "uses"),
        ([one("a"), one("b", 0)], "uses[1].quantity"),
        ([one("a"), one("b", 1.5)], "uses[1].quantity"),
        ([one("a"), one("b", meter="Send Email")], "uses[1].meter"),
        ([one("")], "uses[0].idempotency_key"),
        ([one("caf\u00e9")], "uses[0].idempotency_key"),
        ([one("x" * 256)], "uses[0].idempotency_key"),
        ([{"meter": "send_email", "quantity": 1}], "uses[0].idempotency_key"),
        ([one("a", cost=0)], "uses[0].cost"),
        ([one("a", user="me")], "uses[0].user"),
        ([one("a", occurred_at="yesterday")], "uses[0].occurred_at"),
        (["a"], "uses[0]"),
        ("a", "uses"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_422_with_its_place_and_no_effect(backend: Backend, uses: Any, param: str) -> None:
    answer = backend.call("POST", "/usage/batch", json={"uses": uses})
    assert (answer.status_code, error_of(answer)["param"]) == (422, param)
    assert booked(backend) == NOTHING


def test_a_body_that_is_too_large_is_413(backend: Backend) -> None:
    body = json.dumps({"uses": [one("a")], "more": "x" * 1_000_000})
    answer = backend.call("POST", "/usage/batch", data=body, content_type="application/json")
    assert answer.status_code == 413


def test_the_largest_batch_fits_into_a_body(backend: Backend) -> None:
    longest = one(
        "x" * 255, 1_000_000, "x" * 40, user="user_" + "0" * 26, occurred_at="2026-11-18T13:02:11.042000+00:00"
    )
    assert len(json.dumps({"uses": [longest] * 1000})) < backend.app.config["MAX_CONTENT_LENGTH"]


def test_without_the_scope_nothing_is_recorded(backend: Backend) -> None:
    answer = send(backend.with_no_scope(), one("a"))
    assert (answer.status_code, error_of(answer)["code"]) == (403, "missing_scope")
    assert booked(backend) == NOTHING


def test_two_teams_may_use_the_same_keys(backend: Backend, other_backend: Backend) -> None:
    other_backend.give(50)
    assert results(send(backend, one("a", 2))) == results(send(other_backend, one("a", 30))) == ["recorded"]
    assert [booked(backend)["available"], booked(other_backend)["available"]] == [98, 20]
