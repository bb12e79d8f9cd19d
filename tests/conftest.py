"""The servers of a test run: started once by the process that was called, shared out to the workers."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator, Sequence
from functools import cache
from types import FrameType
from typing import Any

import psycopg
import pytest
from flask import Flask, has_app_context
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, create_engine, text
from stripe import HTTPClient
from werkzeug.test import TestResponse
from xdist.remote import Producer

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.cli.stack.errors import StackError
from portal.core.database import db
from portal.core.limits import forget_counts
from portal.settings import load_settings
from tests import loopback, services
from tests.cast import Cast, gather
from tests.services import DatabaseUrls, Plan, Services
from tests.sharing_out import ByFile
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox

# How long it takes to think of examples says something of the machine, and nothing of the code.
settings.register_profile("turnpike", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("turnpike")

RUNNING = pytest.StashKey[Services]()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers before the workers start; a run in one process starts them when a test first asks."""
    HTTPClient.INITIAL_DELAY = HTTPClient.MAX_DELAY = 0  # what the client waits between its tries is not what is tested
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


def pytest_collection_finish() -> None:
    """What is loaded now stays: to look through it again and again took a twentieth of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


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


# Catalog rows are the same for every test, and syncing them takes as long as many tests.
KEPT = frozenset(
    (
        "alembic_version",
        "plans",
        "prices",
        "bundles",
        "features",
        "plan_features",
        "plan_meters",
        "plan_access",
        "meters",
        "addons",
        "addon_plans",
        "addon_features",
    )
)


@pytest.fixture(scope="session")
def stripe_url() -> Iterator[str]:
    """The stand-in for Stripe, in a thread of this process."""
    with serve_sandbox() as url:
        yield url


class FreshContextClient(FlaskClient):
    """Each request in an app context of its own, as on a server: within the test's, `g` would carry over who asked."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        with self.application.app_context():
            return super().open(*args, **kwargs)


@pytest.fixture(scope="session")
def portal_app(database_urls: DatabaseUrls, redis_url: str, stripe_url: str) -> Iterator[Flask]:
    """The app with its catalog in the database and at the stand-in; made once a worker."""
    environment = services.app_environment(database_urls, redis_url) | {
        "STRIPE_API_BASE": stripe_url,
        "HOSTED_PAGE_ORIGINS": stripe_url,
        "STRIPE_WEBHOOK_SECRET": f"{WEBHOOK_SECRET},{WEBHOOK_SECRET}_old",
    }
    app = create_app(load_settings(environment))
    app.config["WTF_CSRF_ENABLED"] = False  # the tests of forgery turn it on
    app.test_client_class = FreshContextClient
    # Hashing is made to be slow; that it is argon2id is tested, not how long it takes.
    app.extensions["security"].pwd_context.update(argon2__time_cost=1, argon2__memory_cost=64, argon2__parallelism=1)
    with app.app_context():
        sync_catalog(gateway(), catalog())
    yield app
    with app.app_context():
        services.close_connections()
    owner_engine(database_urls.owner).dispose()


@pytest.fixture
def app(portal_app: Flask) -> Iterator[Flask]:
    """The app on an empty database, with a context pushed; what a test commits is really committed."""
    empty_tables(portal_app)
    with portal_app.app_context():
        forget_counts()
        yield portal_app
        db.session.remove()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def cast(app: Flask) -> Cast:
    return gather(app)


@pytest.fixture
def stage(app: Flask, stripe_url: str) -> Stage:
    return Stage(app, stripe_url)


def empty_tables(app: Flask, *names: str) -> None:
    """Empty the tables, all but the catalog's unless named, as their owner: history's triggers refuse everybody else.

    Only where there are rows, and by deleting them: to truncate makes the files of every table anew, which took longer
    than most tests. One statement deletes from all of them, so that what refers to each other goes together.
    """
    if has_app_context():
        db.session.remove()  # a transaction left open would hold the tables
    with owner_engine(app.config["SETTINGS"].database_owner_url).begin() as connection:
        tables = names or [name for name in connection.execute(TABLES).scalars() if name not in KEPT]
        # Whoever still writes is waited for: what they commit goes too.
        connection.execute(text(f"lock table {', '.join(tables)} in share row exclusive mode"))
        looks = (f"select '{name}' where exists (select from {name})" for name in tables)  # noqa: S608  our own names
        filled = connection.execute(text(" union all ".join(looks))).scalars().all()
        if filled:
            _delete_all(connection, filled)


# Parts of a table are emptied with the whole.
TABLES = text(
    "select relname from pg_class where relkind in ('r', 'p') and not relispartition"
    " and relnamespace = 'public'::regnamespace order by relname"
)


def _delete_all(connection: Connection, tables: Sequence[str]) -> None:
    for name in tables:
        connection.execute(text(f"alter table {name} disable trigger user"))
    deletions = (f"from_{name} as (delete from {name})" for name in tables)  # noqa: S608  all of it is ours
    connection.execute(text(f"with {', '.join(deletions)} select"))
    for name in tables:
        connection.execute(text(f"alter table {name} enable trigger user"))


@cache
def owner_engine(url: str) -> Engine:
    """One lasting connection as the tables' owner: to log in anew before each test would take longer than to empty them."""
    return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
