"""Redis dead, hanging, full, read-only, emptied and killed: events are taken with 200 and applied by polling.

The Redis of these tests is their own, so that it may be killed and emptied.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from portal.cli.stack import process, redis_server
from portal.cli.stack.redis_server import EmbeddedRedis
from portal.core import jobs
from portal.core.jobs import QUEUE
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, violations, waiting
from tests.stage import Stage
from tests.worker_process import Workers, until

KEY = f"rq:queue:{QUEUE}"


@dataclass
class OwnRedis:
    """A Redis that a test may do anything to. It forgets everything when it stops, and returns to the same port."""

    server: EmbeddedRedis
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def client(self) -> Any:  # its types cannot tell an answer from a promise of one
        return Redis.from_url(self.url, socket_timeout=5)

    def start(self) -> None:
        running = process.start(self.server.command, environment={}, folder=Path("/"))
        self.running = running
        self.server.wait(lambda: running.poll() is None)

    def send(self, number: signal.Signals) -> None:
        assert self.running
        self.running.send_signal(number)

    def kill(self) -> None:
        if self.running:
            self.running.kill()
            self.running.wait()

    def hints(self) -> int:
        return int(self.client.llen(KEY))

    def workers(self) -> int:
        """How many RQ workers have registered since it started."""
        return int(self.client.scard("rq:workers"))


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    program = redis_server.program()
    assert program
    server = EmbeddedRedis(program, tmp_path / "redis")
    server.prepare()
    made = OwnRedis(server)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def on_own_redis(app: Flask, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> OwnRedis:
    """The web side uses it too."""
    monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], redis_url=own_redis.url))
    return own_redis


def full(redis: OwnRedis) -> None:
    redis.client.config_set("maxmemory", "1")


def read_only(redis: OwnRedis) -> None:
    redis.client.replicaof("127.0.0.1", "1")


def hanging(redis: OwnRedis) -> None:
    redis.send(signal.SIGSTOP)


TROUBLES: dict[str, Callable[[OwnRedis], Any]] = {
    "dead": OwnRedis.kill,
    "hanging": hanging,
    "full": full,
    "read-only": read_only,
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_without_a_working_redis_the_door_stays_open(
    cast: Cast, stage: Stage, on_own_redis: OwnRedis, trouble: str
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    assert jobs.hint() is True  # and the connection is open
    on_own_redis.client.delete(KEY)  # another one would not be needed while one waits
    TROUBLES[trouble](on_own_redis)
    assert jobs.hint() is False
    for event in events:
        assert stage.deliver(event) == 200
    stage.drain()
    assert waiting() == []
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    on_own_redis.send(signal.SIGCONT)


def test_hints_that_are_flushed_away_cost_nothing(
    cast: Cast, stage: Stage, on_own_redis: OwnRedis, workers: Workers
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        stage.deliver(event)
    assert on_own_redis.hints() > 0
    on_own_redis.client.flushall()
    worker = workers.start(redis_url=on_own_redis.url)
    until(nothing_waits, "all is applied")
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    until(on_own_redis.workers, "the worker listens")
    assert worker.terminate() == 0
    assert on_own_redis.workers() == 0, "it has signed off, rather than being cut off in its wait"


def test_a_worker_outlives_its_redis_and_uses_the_next(stage: Stage, on_own_redis: OwnRedis, workers: Workers) -> None:
    """Killed while the worker waits on it, back, emptied, hanging: one story, one worker, ended while Redis hangs."""
    redis = on_own_redis
    worker = workers.start(redis_url=redis.url)
    until(redis.workers, "the worker listens")

    redis.kill()
    _buy_and_wait(stage, "while Redis was dead")
    redis.start()
    until(jobs.hint, "the web has found it again")
    until(lambda: redis.hints() == 0, "the worker has found it again")

    redis.client.flushall()
    _buy_and_wait(stage, "after Redis was emptied")
    redis.send(signal.SIGSTOP)
    _buy_and_wait(stage, "while Redis hung")
    assert worker.running.poll() is None
    assert worker.terminate() == 0
    redis.send(signal.SIGCONT)
    assert violations() == []


def _buy_and_wait(stage: Stage, when: str) -> None:
    person, team_id = make_buyer(stage.app, when)
    stage.subscribe(person, team_id, "business")
    for event in stage.new_events():
        assert stage.deliver(event) == 200
    until(nothing_waits, f"all is applied {when}")
    assert paid_grants(team_id) == [BUSINESS_CREDITS]
