"""What stories with processes share. A machine without any `redis-server` has no Redis whose faults could be shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal.cli.stack import redis_server
from tests.worker_process import Workers

collect_ignore = [] if redis_server.program() else ["test_faults_redis.py"]


@pytest.fixture
def workers(app: Flask, redis_url: str, tmp_path: Path) -> Iterator[Workers]:
    """Worker processes on this test's database."""
    made = Workers(app, tmp_path, redis_url)
    try:
        yield made
    finally:
        made.kill_all()
