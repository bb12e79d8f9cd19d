"""PostgreSQL and Redis for the tests: the servers that DATABASE_URL and REDIS_URL name, else our own in a temporary folder.

On a given server everything is made beside what is there, under random names, and dropped at the end; nothing is
flushed. The migrations run once, into a template; every pytest-xdist worker gets a copy.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.engine import URL, make_url

from portal.cli.stack import process, redis_server
from portal.cli.stack.postgres import EmbeddedPostgres
from portal.cli.stack.redis_server import EmbeddedRedis
from portal.core.database import db

ROOT = Path(__file__).resolve().parent.parent
CLAIM = "turnpike-test-run"
# A test database may be lost; waiting for the disk would only make it slow.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


class DatabaseUrls(NamedTuple):
    """Addresses for SQLAlchemy of one database: as the role that runs migrations, and as the application's role."""

    owner: str
    app: str


@dataclass(frozen=True)
class Plan:
    """What every process of one test run must know; it travels to the workers in the environment."""

    run: str
    owner: str
    app: str
    admin: str
    redis: str

    VARIABLE = "TURNPIKE_TEST_PLAN"

    @classmethod
    def found(cls) -> Plan | None:
        text = os.environ.get(cls.VARIABLE)
        return cls(*text.split("\n")) if text else None

    def publish(self) -> None:
        os.environ[self.VARIABLE] = "\n".join(astuple(self))

    @property
    def template(self) -> str:
        return f"turnpike_test_{self.run}_template"

    def database(self, worker: str) -> str:
        return f"turnpike_test_{self.run}_{worker}"

    def urls(self, database: str) -> DatabaseUrls:
        return DatabaseUrls(*(_text(make_url(url).set(database=database)) for url in (self.owner, self.app)))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def close_connections() -> None:
    """End the connections of the current application in this process."""
    db.session.remove()
    for engine in db.engines.values():
        engine.dispose()


def connect(url: str) -> psycopg.Connection:
    """A connection that commits each statement, to an address in SQLAlchemy's spelling."""
    parts = make_url(url)
    return psycopg.connect(_text(parts.set(drivername="postgresql")), autocommit=True, connect_timeout=5)


class Services:
    """The servers of a test run, held by the process that started pytest."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._database_url = environment.get("DATABASE_URL") or ""
        self._redis_url = environment.get("REDIS_URL") or ""
        self._folder: Path | None = None
        self._running: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []
        self._plan: Plan | None = None
        self.notes: list[str] = []

    def start(self) -> Plan:
        """Start what is missing, make the roles and the migrated template. Raises when any of it cannot be had."""
        self._folder = Path(tempfile.mkdtemp(prefix="turnpike-test-"))
        run = secrets.token_hex(4)
        admin = self._postgres()
        redis = self._redis()
        owner, app = self._roles(run, admin)
        self._plan = Plan(run, owner, app, admin, redis)
        self._plan.publish()
        self._make_template(self._plan)
        return self._plan

    def stop(self) -> None:
        """Drop what was made and stop what was started. Safe to call at any moment, also twice."""
        with contextlib.suppress(psycopg.Error):
            self._drop()
        with contextlib.suppress(RedisError):
            if self._plan and self._plan.redis != "none":
                clean_redis(self._plan.redis, self._plan.run)
        for running, how in reversed(self._running):
            process.stop(running, how, seconds_max=20)
        self._running.clear()
        self._plan = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _postgres(self) -> str:
        if self._database_url:
            given = make_url(self._database_url).set(drivername="postgresql+psycopg")
            connect(_text(given)).close()
            self.notes.append(f"PostgreSQL of DATABASE_URL ({given.render_as_string(hide_password=True)})")
            return _text(given)
        assert self._folder
        server = EmbeddedPostgres(self._folder / "postgres", self._folder / "sockets", FAST)
        (self._folder / "sockets").mkdir()
        server.prepare(self.notes.append)
        running = self._run(server.command, "postgres", signal.SIGINT, server)
        server.wait(lambda: running.poll() is None)
        self.notes.append("PostgreSQL of our own")
        return server.url("postgres", "postgres")

    def _redis(self) -> str:
        if self._redis_url:
            if self._redis_url != "none":
                Redis.from_url(self._redis_url).ping()
            self.notes.append("no Redis" if self._redis_url == "none" else "Redis of REDIS_URL")
            return self._redis_url
        program = redis_server.program()
        if program is None:
            self.notes.append("no Redis: there is no redis-server on the PATH, and no package of one")
            return "none"
        assert self._folder
        server = EmbeddedRedis(program, self._folder / "redis")
        server.prepare()
        running = self._run(server.command, "redis", signal.SIGTERM)
        server.wait(lambda: running.poll() is None)
        self.notes.append("Redis of our own")
        return server.url

    def _run(
        self, command: list[str], name: str, how: signal.Signals, server: EmbeddedPostgres | None = None
    ) -> subprocess.Popen[bytes]:
        assert self._folder
        running = process.start(
            command,
            environment=os.environ | {"LC_ALL": "C"},
            folder=Path("/"),
            output=self._folder / f"{name}.log",
            user=server.user if server else None,
            if_orphaned=how,
        )
        self._running.append((running, how))
        return running

    def _roles(self, run: str, admin: str) -> tuple[str, str]:
        """The addresses of an owner and of an app role without DDL; one and the same where roles cannot be had."""
        with connect(admin) as connection:
            row = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
            try:
                app = _make_role(connection, admin, f"turnpike_test_{run}_app")
                owner = _make_role(connection, admin, f"turnpike_test_{run}_owner") if row and row[0] else admin
            except psycopg.Error as error:
                _drop_roles(connection, run)
                self.notes.append(f"ONE role for owner and app: {str(error).strip().splitlines()[0]}")
                return admin, admin
        return owner, app

    def _make_template(self, plan: Plan) -> None:
        with connect(plan.admin) as connection:
            owner = make_url(plan.owner).username
            statement = sql.SQL("create database {} owner {}") if owner else sql.SQL("create database {}")
            names = (plan.template, owner) if owner else (plan.template,)
            connection.execute(statement.format(*map(sql.Identifier, names)))
        if not any((ROOT / "migrations" / "versions").glob("*.py")):
            return
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
            cwd=ROOT,
            env=os.environ | app_environment(plan.urls(plan.template), "none"),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"the migrations failed:\n{done.stdout}{done.stderr}")

    def _drop(self) -> None:
        plan = self._plan
        if plan is None:
            return
        with connect(plan.admin) as connection:
            mine = "select datname from pg_database where starts_with(datname, %s)"
            for (name,) in connection.execute(mine, [f"turnpike_test_{plan.run}_"]).fetchall():
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
            _drop_roles(connection, plan.run)


def _make_role(connection: psycopg.Connection, admin: str, name: str) -> str:
    """Make a role that may log in and nothing else; returns its address. Raises when it cannot be made or log in."""
    password = secrets.token_hex(16)
    statement = sql.SQL("create role {} login nosuperuser nocreatedb nocreaterole password {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))
    url = _text(make_url(admin).set(username=name, password=password))
    connect(url).close()
    return url


def _drop_roles(connection: psycopg.Connection, run: str) -> None:
    mine = "select rolname from pg_roles where starts_with(rolname, %s)"
    for (name,) in connection.execute(mine, [f"turnpike_test_{run}_"]).fetchall():
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def app_environment(urls: DatabaseUrls, redis_url: str) -> dict[str, str]:
    """The settings for the application under test; Stripe's address leads nowhere until a test says otherwise."""
    return {
        "ENV": "test",
        "SECRET_KEY": "only-for-tests-0123456789abcdef0123456789",
        "DATABASE_URL": urls.app,
        "DATABASE_OWNER_URL": urls.owner,
        "REDIS_URL": redis_url,
        "STRIPE_SECRET_KEY": "sk_test_stage",
        "STRIPE_WEBHOOK_SECRET": "whsec_stage",
        "STRIPE_API_BASE": "http://127.0.0.1:9",
    }


@contextlib.contextmanager
def database(plan: Plan, worker: str) -> Iterator[DatabaseUrls]:
    """A fresh copy of the template for one worker, dropped at the end."""
    name = plan.database(worker)
    with connect(plan.admin) as connection:
        _copy(connection, plan, name)
        try:
            yield plan.urls(name)
        finally:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _copy(connection: psycopg.Connection, plan: Plan, name: str) -> None:
    """Copy the template; whoever still looks at it (autovacuum, say) is waited for."""
    owner = make_url(plan.owner).username
    suffix = sql.SQL(" owner {}").format(sql.Identifier(owner)) if owner else sql.SQL("")
    statement = sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, plan.template))) + suffix
    for attempt in range(50):
        try:
            connection.execute(statement)
            return
        except psycopg.errors.ObjectInUse:
            if attempt == 49:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def redis(plan: Plan) -> Iterator[str]:
    """An empty database of the Redis server for one worker, or `none`. Only what stands in it is removed at the end."""
    if plan.redis == "none":
        yield "none"
        return
    url = _claim(plan)
    try:
        yield url
    finally:
        _empty(Redis.from_url(url))


def _claim(plan: Plan) -> str:
    for number in range(1, 16):
        url = _text(make_url(plan.redis).set(database=str(number)))
        with contextlib.closing(Redis.from_url(url)) as client:
            try:
                if client.dbsize() == 0 and client.set(CLAIM, plan.run, nx=True):
                    return url
            except ResponseError:
                break
    raise RuntimeError("REDIS_URL: none of its databases 1 to 15 is empty, and the tests never empty one themselves")


def clean_redis(server: str, run: str) -> None:
    """Remove what a worker of this run left in the databases it had claimed."""
    for number in range(1, 16):
        with contextlib.closing(Redis.from_url(_text(make_url(server).set(database=str(number))))) as client:
            if client.get(CLAIM) == run.encode():
                _empty(client)


def _empty(client: Redis) -> None:
    keys = list(client.scan_iter(count=500))
    if keys:
        client.delete(*keys)
