"""Rate limits: counted, told when to come back, and never off."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import cast

import pytest
from flask import Flask
from flask_limiter import Limiter

from portal.core import limits
from portal.settings import Settings


def small_app(monkeypatch: pytest.MonkeyPatch, redis_url: str | None) -> Flask:
    monkeypatch.setattr(limits, "limiter", Limiter(key_func=limits.client_address, strategy="moving-window"))
    app = Flask(__name__)
    limits.init_limits(app, cast(Settings, SimpleNamespace(redis_url=redis_url)))

    @app.get("/")
    @limits.limiter.limit("2 per minute")
    def home() -> str:
        return "ok"

    return app


def test_the_third_of_two_is_refused_and_told_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    client = small_app(monkeypatch, None).test_client()
    answers = [client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 61
    assert "Retry-After" not in answers[0].headers


def test_each_caller_has_a_count_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    client = small_app(monkeypatch, None).test_client()
    for number in range(3):
        client.get("/", environ_base={"REMOTE_ADDR": f"192.0.2.{number}"})
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.0"}).status_code == 200


def test_an_ipv6_caller_is_its_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    client = small_app(monkeypatch, None).test_client()
    answers = [client.get("/", environ_base={"REMOTE_ADDR": f"2001:db8::{number}"}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert client.get("/", environ_base={"REMOTE_ADDR": "2001:db8:0:1::1"}).status_code == 200
    mapped = [client.get("/", environ_base={"REMOTE_ADDR": f"::ffff:192.0.2.{number}"}) for number in range(3)]
    assert [answer.status_code for answer in mapped] == [200] * 3


def test_without_an_answer_from_redis_this_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-27: a Redis that accepts and never answers neither lets everybody through nor fails the request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        client = small_app(monkeypatch, url).test_client()
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (None, "memory://"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
    ],
)
def test_the_storage_is_named_as_the_limiter_spells_it(given: str | None, taken: str) -> None:
    assert limits._storage_uri(given) == taken
