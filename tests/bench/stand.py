"""What the bench runs on: a PostgreSQL that waits for its disk, a Redis, the portal and the yardstick under gunicorn.

The portal runs with the settings of production. Its worker does not run by itself: where the taking of events is measured,
the applying of them would be in the way.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from portal import create_app
from portal.accounts.api_keys import create_key
from portal.billing.catalog_sync import sync_catalog
from portal.billing.customers import ensure_customer, plan_customer
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.cli.stack import process, redis_server
from portal.cli.stack.ports import answers
from portal.cli.stack.postgres import SUPERUSER, EmbeddedPostgres
from portal.cli.stack.redis_server import EmbeddedRedis, free_port
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.settings import load_settings
from tests.cast import make_team_of, make_user
from tests.stage import API_KEY

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "billing.example.com"
SECRET = "whsec_of_the_bench"
DATABASE = "bench"
PROCESSES = 2
CREDITS = 10**12
SECONDS_MAX = 60


@dataclass(frozen=True)
class Server:
    """One gunicorn: where it listens, and the process that its workers are children of."""

    port: int
    pid: int

    def workers(self) -> list[int]:
        return sorted(child.pid for child in psutil.Process(self.pid).children())


class OneProcess(Server):
    """A server that is one process with threads."""

    def workers(self) -> list[int]:
        return [self.pid]


@dataclass(frozen=True)
class Customer:
    """A team of the portal's, with a key for its API and its customer at the stand-in."""

    api_key: str
    stripe_id: str


@dataclass(frozen=True)
class Stand:
    """`environment` are the portal's settings, for its worker; `stripe_url` is where the stand-in listens."""

    portal: Server
    bare: Server
    customers: list[Customer]
    postgres: EmbeddedPostgres
    environment: dict[str, str]
    stripe_url: str
    folder: Path

    @property
    def api_keys(self) -> list[str]:
        return [one.api_key for one in self.customers]


@contextmanager
def standing(teams: int) -> Iterator[Stand]:
    """Everything running, with as many teams that have an API key and more credits than they can use."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="turnpike-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = _postgres(stack, folder)
        redis_url = _redis(stack, folder)
        stripe_url = f"http://127.0.0.1:{sandbox(stack, folder).port}"
        environment = _environment(postgres.url(SUPERUSER, DATABASE), redis_url, stripe_url)
        customers = _furnish(environment, teams)
        portal = _web(stack, folder / "portal.log", environment, "wsgi:app")
        address = f"host={postgres.socket_folder} user={SUPERUSER} dbname={DATABASE}"
        bare = _web(stack, folder / "bare.log", {"BARE_DATABASE": address}, "tests.bench.bare:app")
        yield Stand(portal, bare, customers, postgres, environment, stripe_url, folder)


def running(
    stack: ExitStack,
    command: list[str],
    environment: dict[str, str],
    folder: Path,
    stop: signal.Signals,
    **more: object,
) -> subprocess.Popen[bytes]:
    """A program that runs until the stack is left."""
    program = process.start(command, environment=os.environ | environment, folder=folder, **more)  # type: ignore[arg-type]
    stack.callback(process.stop, program, stop, seconds_max=SECONDS_MAX)
    return program


def _postgres(stack: ExitStack, folder: Path) -> EmbeddedPostgres:
    """With nothing changed that makes it durable."""
    (folder / "sockets").mkdir()
    server = EmbeddedPostgres(folder / "postgres", folder / "sockets")
    server.prepare(lambda _note: None)
    program = running(stack, server.command, {"LC_ALL": "C"}, Path("/"), signal.SIGINT, user=server.user)
    server.wait(lambda: program.poll() is None)
    with server.connect() as connection:
        assert connection.execute("show fsync").fetchone() == ("on",)
        assert connection.execute("show synchronous_commit").fetchone() == ("on",)
        connection.execute(f"create database {DATABASE}")
    with server.connect(DATABASE) as connection:
        connection.execute("create table bare_bodies (id bigint generated always as identity primary key, body bytea)")
    return server


def _redis(stack: ExitStack, folder: Path) -> str:
    program = redis_server.program()
    if program is None:
        return "none"
    server = EmbeddedRedis(program, folder / "redis")
    server.prepare()
    started = running(stack, server.command, {}, Path("/"), signal.SIGTERM)
    server.wait(lambda: started.poll() is None)
    return server.url


def _environment(database_url: str, redis_url: str, stripe_url: str) -> dict[str, str]:
    return {
        "ENV": "production",
        "ALLOW_TEST_MODE": "true",
        "SECRET_KEY": "of-the-bench-0123456789abcdef0123456789",
        "BASE_URL": f"https://{HOST}",
        "MAIL_URL": "smtp://127.0.0.1:9",
        "MAIL_FROM": f"billing@{HOST}",
        "DATABASE_URL": database_url,
        "DATABASE_OWNER_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_SECRET_KEY": API_KEY,
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_API_BASE": stripe_url,
        "PROXY_HOPS": "0",
        "LOG_LEVEL": "INFO",
        "WEB_CONCURRENCY": str(PROCESSES),
        # The limits are looked at for every request, and refuse none.
        "API_REQUESTS_PER_MINUTE": "1000000",
    }


def _furnish(environment: dict[str, str], teams: int) -> list[Customer]:
    """Migrate, sync the catalog, make the teams and their customers."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    app = create_app(load_settings(environment))
    made = []
    with app.app_context():
        sync_catalog(gateway(), catalog())
        for _ in range(teams):
            with unit_of_work():
                owner = make_user()
                team = make_team_of(owner)
                key = create_key(team.id, owner, "Bench", livemode=False).secret
                plan_customer(team, {})
            with unit_of_work():
                ledger.grant(team.id, kind="bundle", amount=CREDITS, cause_key="bundle:bench", source="Bench")
            made.append(Customer(key, ensure_customer(gateway(), team.id)))
    return made


def sandbox(stack: ExitStack, folder: Path) -> Server:
    """The stand-in for Stripe, with its state in memory."""
    port = free_port()
    return listening(stack, folder, port, ["portal.sandbox", "--port", str(port), "--api-key", API_KEY], {})


def listening(stack: ExitStack, folder: Path, port: int, module: list[str], environment: dict[str, str]) -> Server:
    """A module that runs as a server of one process; ready when its port answers."""
    log = folder / f"{port}.log"
    program = running(stack, [sys.executable, "-m", *module], environment, ROOT, signal.SIGTERM, output=log)
    deadline = time.monotonic() + SECONDS_MAX
    while not answers(port):
        if program.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{module[0]} did not start:\n{log.read_text()}")
        time.sleep(0.1)
    return OneProcess(port, program.pid)


def _web(stack: ExitStack, log: Path, environment: dict[str, str], application: str) -> Server:
    """gunicorn with the configuration of production; ready when all of its workers have started."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", application]
    more = {"PORT": str(port), "WEB_CONCURRENCY": str(PROCESSES)}
    program = running(stack, command, environment | more, ROOT, signal.SIGTERM, output=log)
    server = Server(port, program.pid)
    deadline = time.monotonic() + SECONDS_MAX
    while not (answers(port) and len(server.workers()) == PROCESSES):
        if program.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{application} did not start:\n{log.read_text()}")
        time.sleep(0.1)
    return server
