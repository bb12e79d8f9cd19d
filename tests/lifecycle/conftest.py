"""What stories with processes share. A machine without any `redis-server` has no Redis whose faults could be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from portal.cli.stack import redis_server
from tests.own_servers import OwnRedis, redis_of_our_own
from tests.worker_process import Workers

WITH_REDIS = ["test_chaos.py", "test_faults_redis.py", "test_faults_redis_stages.py", "test_faults_redis_pages.py"]
collect_ignore = [] if redis_server.program() else WITH_REDIS


@pytest.fixture
def workers(app: Flask, redis_url: str, tmp_path: Path) -> Iterator[Workers]:
    """Worker processes on this test's database."""
    made = Workers(app, tmp_path, redis_url)
    try:
        yield made
    finally:
        made.kill_all()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with redis_of_our_own(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def on_own_redis(app: Flask, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> OwnRedis:
    """The web side uses it too."""
    monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], redis_url=own_redis.url))
    return own_redis
