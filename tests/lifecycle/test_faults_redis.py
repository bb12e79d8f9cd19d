"""Redis dead, hanging, full, read-only, emptied and killed: events are taken with 200 and applied by polling.

The Redis of these tests is their own, so that it may be killed and emptied.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from portal.core import jobs
from tests.cast import Cast
from tests.own_servers import KEY, OwnRedis
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, violations, waiting
from tests.stage import Stage
from tests.worker_process import Workers, until


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
    until(on_own_redis.hints, "a thread of the web has left a hint")
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
