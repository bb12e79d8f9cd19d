"""S-63: how many calls may be made, told in every answer, and one's flood is no other's trouble."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.api_key_format import new_key
from portal.api.limits import REFUSED_KEYS
from portal.core.limits import forget_counts
from tests.cast import Cast
from tests.web.api.backend import Backend, backend_of, error_of
from tests.web.api.lookups import looking_up, read_at_once

A_MINUTE = 3


@pytest.fixture
def few(app: Flask) -> Iterator[None]:
    """Three calls a minute for a key, six for a team, twelve for an address."""
    settings = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(settings, api_requests_per_minute=A_MINUTE)
    yield
    app.config["SETTINGS"] = settings
    forget_counts()


def statuses(backend: Backend, times: int, address: str = "192.0.2.1") -> list[int]:
    return [read(backend, address).status_code for _ in range(times)]


def read(backend: Backend, address: str) -> Any:
    return backend.call("GET", "/credits", environ_base={"REMOTE_ADDR": address})


def test_s63_a_key_has_so_many_a_minute_and_is_told(backend: Backend, few: None) -> None:
    left = [int(read(backend, "192.0.2.1").headers["X-RateLimit-Remaining"]) for _ in range(A_MINUTE)]
    assert left == [2, 1, 0]
    refused = read(backend, "192.0.2.1")
    assert (refused.status_code, error_of(refused)["type"]) == (429, "rate_limit_error")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("3", "0")


def test_s63_calls_at_the_same_moment_are_counted_one_by_one(
    backend: Backend, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with looking_up(monkeypatch, backend) as lookups:
        first, later = read_at_once(backend, lookups, 5)
    found = [first, *later]
    assert sorted(answer.status_code for answer in found) == [200] * A_MINUTE + [429] * 3
    left = sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in found if answer.status_code == 200)
    assert left == [0, 1, 2]
    assert all(answer.headers["Retry-After"] for answer in found if answer.status_code == 429)


def test_s63_a_refused_call_has_no_effect_and_may_be_sent_again(backend: Backend, few: None) -> None:
    statuses(backend, A_MINUTE)
    assert backend.use(key="order-1").status_code == 429
    forget_counts()
    answer = backend.use(key="order-1")
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers


def test_s63_many_keys_do_not_make_a_team_larger(app: Flask, cast: Cast, few: None) -> None:
    keys = [backend_of(app, cast.team_id, cast.owner) for _ in range(4)]
    answers = [statuses(key, 2, f"192.0.2.{number}") for number, key in enumerate(keys)]
    assert answers == [[200, 200], [200, 200], [200, 200], [429, 429]]


def test_s63_another_team_is_not_held_up(backend: Backend, other_backend: Backend, few: None) -> None:
    assert statuses(backend, A_MINUTE + 1)[-1] == 429
    assert statuses(other_backend, 1) == [200]


def test_s63_an_address_has_a_limit_of_its_own(client: FlaskClient, few: None) -> None:
    ask = {"environ_base": {"REMOTE_ADDR": "192.0.2.9"}}
    assert [client.get("/api/v1/openapi.json", **ask).status_code for _ in range(13)] == [200] * 12 + [429]
    assert client.get("/pricing", **ask).status_code == 200


def test_s63_who_tries_keys_is_slowed_down_and_nobody_else(backend: Backend) -> None:
    stranger = replace(backend, secret=new_key(livemode=False).secret)
    tries = statuses(stranger, int(REFUSED_KEYS.text.split()[0]) + 1)
    assert tries == [401] * (len(tries) - 1) + [429]
    assert statuses(backend, 1) == [200], "a valid key from the same address goes on"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/credits", 401), ("GET", "/nowhere", 404), ("PATCH", "/credits", 405), ("GET", "/openapi.json", 200)],
)
def test_every_answer_says_how_many_are_left(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open("/api/v1" + path, method=method)
    assert answer.status_code == status
    assert answer.headers["Turnpike-Version"] == "2026-11-25"
    for name in ("Limit", "Remaining", "Reset"):
        assert int(answer.headers[f"X-RateLimit-{name}"]) >= 0


def test_pages_carry_no_headers_of_the_api(client: FlaskClient) -> None:
    assert not [name for name, _ in client.get("/pricing").headers if name.startswith(("X-RateLimit", "Turnpike"))]


def test_s63_sums_over_a_span_have_a_limit_for_the_team(
    app: Flask, cast: Cast, backend: Backend, other_backend: Backend
) -> None:
    """Each reads every use of the span. Other keys are no way around it; the month under way is not counted."""
    span = "/usage?since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z"
    assert {backend.call("GET", span).status_code for _ in range(60)} == {200}
    for key in (backend, backend_of(app, cast.team_id, cast.owner)):
        refused = key.call("GET", span)
        assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert backend.call("GET", "/usage").status_code == 200
    assert other_backend.call("GET", span).status_code == 200
