"""A Redis and a PostgreSQL of a test's own, which it may kill, pause and empty without breaking anybody else's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from portal.cli.stack import process, redis_server
from portal.cli.stack.postgres import EmbeddedPostgres
from portal.cli.stack.redis_server import EmbeddedRedis
from portal.core.database import db
from portal.core.jobs import QUEUE
from tests import services
from tests.worker_process import ROOT, SECONDS_MAX

KEY = f"rq:queue:{QUEUE}"
# The disk need not be waited for where no machine goes down, but what was acknowledged must have left the process: it
# is the process that is killed.
CRASHING = ("fsync=off", "full_page_writes=off", "max_connections=200")


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


@contextmanager
def redis_of_our_own(folder: Path) -> Iterator[OwnRedis]:
    """A running Redis with its files in `folder`. There must be a `redis-server` to run."""
    program = redis_server.program()
    assert program
    server = EmbeddedRedis(program, folder)
    server.prepare()
    made = OwnRedis(server)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@dataclass
class OwnPostgres:
    server: EmbeddedPostgres
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url("postgres", "postgres")

    def start(self) -> None:
        environment = os.environ | {"LC_ALL": "C"}
        running = process.start(
            self.server.command,
            environment=environment,
            folder=Path("/"),
            user=self.server.user,
            if_orphaned=signal.SIGINT,
        )
        self.running = running
        self.server.wait(lambda: running.poll() is None)

    def crash(self) -> None:
        """No checkpoint, no goodbye: every session ends where it stands."""
        self.stop(signal.SIGQUIT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        if self.running:
            process.stop(self.running, number, seconds_max=SECONDS_MAX)


@contextmanager
def postgres_of_our_own() -> Iterator[OwnPostgres]:
    """A running, empty PostgreSQL; the one that the whole run is given stays out of it."""
    folder = Path(tempfile.mkdtemp(prefix="turnpike-test-"))
    (folder / "sockets").mkdir()
    server = EmbeddedPostgres(folder / "postgres", folder / "sockets", CRASHING)
    server.prepare(lambda _note: None)
    made = OwnPostgres(server)
    try:
        made.start()
        yield made
    finally:
        with suppress(ProcessLookupError):
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def migrate(environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)


def cut_connections(admin: str) -> None:
    """End every session of the session's database, as a restart would: when it is over, all of them have ended."""
    query = (
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
        " where datname = %s and pid <> pg_backend_pid()"
    )
    with services.connect(admin) as connection:
        connection.execute(query, [db.engine.url.database])
