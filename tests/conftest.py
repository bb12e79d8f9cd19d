"""The servers of a test run: started once by the process that was called, shared out to the workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import psycopg
import pytest
from redis.exceptions import RedisError

from portal.cli.stack.errors import StackError
from tests import loopback, services
from tests.services import DatabaseUrls, Plan, Services

RUNNING = pytest.StashKey[Services]()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers before the workers start; a run in one process starts them when a test first asks."""
    plan = Plan.found() if hasattr(config, "workerinput") else None
    loopback.guard(plan.redis if plan else os.environ.get("REDIS_URL") or "")
    if plan:
        return
    running = Services(os.environ)
    # Whatever a test does with the environment must never reach the database of a person or of a running stack.
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", Plan.VARIABLE):
        os.environ.pop(name, None)
    os.environ["ENV"] = "test"
    config.stash[RUNNING] = running
    config.add_cleanup(running.stop)
    signal.signal(signal.SIGTERM, _terminated)
    if config.getoption("numprocesses", default=None) and not config.option.collectonly:
        try:
            running.start()
        except (RuntimeError, StackError, psycopg.Error, RedisError) as error:
            raise pytest.UsageError(f"the services for the tests could not be started: {error}") from None


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_report_header(config: pytest.Config) -> list[str]:
    notes = config.stash[RUNNING].notes if RUNNING in config.stash else []
    return [f"services: {'; '.join(notes)}"] if notes else []


@pytest.fixture(scope="session")
def test_plan(pytestconfig: pytest.Config) -> Plan:
    """The addresses of this run's servers."""
    return Plan.found() or pytestconfig.stash[RUNNING].start()


@pytest.fixture(scope="session")
def database_urls(test_plan: Plan) -> Iterator[DatabaseUrls]:
    """A migrated database of this worker's own, as `.owner` (DDL) and as `.app` (rows only)."""
    with services.database(test_plan, WORKER) as urls:
        yield urls


@pytest.fixture(scope="session")
def redis_url(test_plan: Plan) -> Iterator[str]:
    """An empty Redis database of this worker's own, or `none`."""
    with services.redis(test_plan) as url:
        yield url
