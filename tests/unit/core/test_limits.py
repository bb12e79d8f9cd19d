"""Rate limits: counted in windows that move, told when to come back, and never off."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from portal.core import limits
from portal.core.ids import new_id
from portal.core.limits import Quota, Window, client_address, count, count_all, count_each, limited, wait_seconds
from portal.core.redis_client import redis_at

TWO = Quota("test", "2 per minute")
FIVE = Quota("test-more", "5 per hour")


def small_app(redis_url: str | None) -> Flask:
    app = Flask(__name__)
    app.config["SETTINGS"] = SimpleNamespace(redis_url=redis_url)

    @app.get("/")
    @limited(TWO, client_address)
    def home() -> str:
        return "ok"

    return app


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_redis_rests_until", 0.0)
    monkeypatch.setattr(limits, "_own_counts", MovingWindowRateLimiter(MemoryStorage()))


@pytest.fixture(params=["redis", "this process"])
def counting_app(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Flask]:
    """Counts in Redis and here, since both must come to the same."""
    if request.param == "redis" and redis_url == "none":
        pytest.skip("there is no redis-server on this machine")
    app = small_app(redis_url if request.param == "redis" else None)
    with app.app_context():
        limits.forget_counts()
        yield app
        limits.forget_counts()


@pytest.fixture
def client(counting_app: Flask) -> FlaskClient:
    return counting_app.test_client()


def test_the_third_of_two_is_refused_and_told_when_to_come_back(client: FlaskClient) -> None:
    answers = [client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert "Retry-After" not in answers[0].headers


def test_each_caller_has_a_count_of_their_own(client: FlaskClient) -> None:
    for number in range(3):
        client.get("/", environ_base={"REMOTE_ADDR": f"192.0.2.{number}"})
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.0"}).status_code == 200


def test_an_ipv6_caller_is_its_whole_network(client: FlaskClient) -> None:
    answers = [client.get("/", environ_base={"REMOTE_ADDR": f"2001:db8::{number}"}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert client.get("/", environ_base={"REMOTE_ADDR": "2001:db8:0:1::1"}).status_code == 200
    mapped = [client.get("/", environ_base={"REMOTE_ADDR": f"::ffff:192.0.2.{number}"}) for number in range(3)]
    assert [answer.status_code for answer in mapped] == [200] * 3


def test_of_several_windows_all_count_or_none(counting_app: Flask) -> None:
    mine, ours = Window(TWO, "mine"), Window(FIVE, "ours")
    assert [count_all(mine, ours).free for _ in range(4)] == [True, True, False, False]
    found = count_all(ours)
    assert found.free
    assert found.tightest.remaining == 2, "what was refused for another window's sake is not counted"


def test_a_standing_says_what_is_left_and_when_all_is_back(counting_app: Flask) -> None:
    found = [count_all(Window(FIVE, "all"), Window(TWO, "one")) for _ in range(3)]
    assert [each.tightest.limit for each in found] == [2, 2, 2], "the smaller limit, or the one that is full"
    assert [each.tightest.remaining for each in found] == [1, 0, 0]
    assert [each.free for each in found] == [True, True, False]
    assert all(55 <= each.tightest.reset_seconds <= 60 for each in found)
    assert found[0].standings[0] == limits.Standing(limit=5, remaining=4, reset_seconds=3600, wait_seconds=0)
    full = [count_all(Window(FIVE, "all")) for _ in range(4)][-1]
    assert 3590 <= full.tightest.wait_seconds <= 3600


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("times", [1, 2, 3, 6])
def test_several_at_once_come_to_what_they_come_to_one_after_another(
    counting_app: Flask, before: int, times: int
) -> None:
    def windows(name: str) -> tuple[Window, Window]:
        return Window(FIVE, name), Window(Quota("test-four", "4 per hour"), name)

    for name in ("at once", "in turn"):
        for _ in range(before):
            count_all(*windows(name))
    at_once = count_each(times, *windows("at once"))
    in_turn = [count_all(*windows("in turn")) for _ in range(times)]
    assert [(one.free, [each.remaining for each in one.standings]) for one in at_once] == [
        (one.free, [each.remaining for each in one.standings]) for one in in_turn
    ]
    assert count_all(*windows("at once")).free == count_all(*windows("in turn")).free


def test_looking_counts_nothing(counting_app: Flask) -> None:
    assert [wait_seconds(TWO, "x") for _ in range(5)] == [0] * 5
    assert [count(TWO, "x") for _ in range(3)] == [True, True, False]
    assert 1 <= wait_seconds(TWO, "x") <= 60


def test_a_quota_of_another_size_begins_anew(counting_app: Flask) -> None:
    """A setting that is changed must not be judged by what was counted for the old one."""
    assert [count(TWO, "x") for _ in range(3)][-1] is False
    assert count(Quota(TWO.name, "3 per minute"), "x")


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 4)), max_size=25))
def test_no_minute_holds_more_than_the_quota(redis_url: str, steps: list[tuple[int, int]]) -> None:
    """The script against a list of times, with Redis's clock replaced by one that the test moves (milliseconds)."""
    if redis_url == "none":
        pytest.skip("there is no redis-server on this machine")
    redis = redis_at(redis_url)
    script = redis.register_script(limits.WINDOWS.replace("redis.call('TIME')", "{ARGV[#ARGV], 0}"))
    key, clock, counted = new_id("test"), 1_000_000, list[int]()
    for pause, wanted in steps:
        clock += pause
        # The script takes seconds; a thousandth of one is what this clock counts in.
        room, [[used, oldest, newest]] = script(keys=[key], args=[wanted, 3, 60_000, clock])
        counted = [moment for moment in counted if moment + 60_000 > clock]
        assert (room, used) == (3 - len(counted), len(counted))
        counted += [clock] * min(wanted, room)
        leave = [moment + 60_000 - clock for moment in (min(counted), max(counted))] if counted else [0, 0]
        assert [oldest // 1000, newest // 1000] == leave
    redis.delete(key)


def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that this process has waited for Redis with in vain."""
    seen: list[str] = []
    real: Callable[..., object] = Redis.execute_command

    def noted(self: Redis, *args: object, **more: object) -> object:
        try:
            return real(self, *args, **more)
        except RedisTimeout:
            seen.append(str(args[0]))
            raise

    monkeypatch.setattr(Redis, "execute_command", noted)
    return seen


def test_without_an_answer_from_redis_this_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-27: a Redis that accepts and never answers neither lets everybody through nor is waited for again and again."""
    seen = waits(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = small_app(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert [app.test_client().get("/").status_code for _ in range(3)] == [200, 200, 429]
    assert len(seen) <= 1


def test_who_has_no_address_counts_as_one_caller() -> None:
    with small_app(None).test_request_context("/", environ_base={"REMOTE_ADDR": ""}):
        assert request.remote_addr == ""
        assert client_address() == "unknown"
