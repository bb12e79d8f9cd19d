"""Hints to the worker: one waits, however many there was reason for."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from redis import Redis

from portal.core import jobs
from portal.core.jobs import QUEUE

KEY = f"rq:queue:{QUEUE}"


@pytest.fixture
def redis(app: Flask, redis_url: str) -> Any:
    if redis_url == "none":
        pytest.skip("there is no redis-server on this machine")
    client: Any = Redis.from_url(redis_url)
    client.delete(KEY)
    yield client
    client.delete(KEY)
    client.close()


def test_a_hundred_hints_are_one_that_waits(redis: Any) -> None:
    assert all(jobs.hint() for _ in range(100))
    assert redis.llen(KEY) == 1


def test_a_hint_that_was_taken_is_followed_by_another(redis: Any) -> None:
    jobs.hint()
    redis.lpop(KEY)
    assert jobs.hint() is True
    assert redis.llen(KEY) == 1


def test_a_hint_that_waits_never_runs_out(redis: Any) -> None:
    """Others were spared because of it, so it must still be there for a worker that comes late."""
    jobs.hint()
    (job,) = redis.lrange(KEY, 0, -1)
    assert redis.ttl(f"rq:job:{job.decode()}") == -1
