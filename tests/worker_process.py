"""`worker.py` as a process of its own on a test's database, Redis and stand-in, so that tests may kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from flask import Flask

from portal.cli.stack import process
from portal.core.database import db
from portal.core.failpoints import VARIABLE

ROOT = Path(__file__).resolve().parent.parent
# How long anything may take before a test gives up; never how long it should take.
SECONDS_MAX = 60
LOOK_SECONDS = 0.05


def until(condition: Callable[[], object], what: str = "", seconds_max: float = SECONDS_MAX) -> None:
    """Look until `condition` holds. It sees what others have committed, since no transaction outlives a look."""
    deadline = time.monotonic() + seconds_max
    while True:
        found = condition()
        db.session.rollback()
        if found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true in {seconds_max} s: {what or condition}")
        time.sleep(LOOK_SECONDS)


def environment_of(app: Flask, redis_url: str | None) -> dict[str, str]:
    """The settings of `app` as variables, with a Redis of the test's choice (`None` for none)."""
    settings = app.config["SETTINGS"]
    ours = {
        "ENV": settings.env,
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": settings.database_url,
        "DATABASE_OWNER_URL": settings.database_owner_url,
        "REDIS_URL": redis_url or "none",
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_WEBHOOK_SECRET": ",".join(settings.stripe_webhook_secrets),
        "STRIPE_API_BASE": settings.stripe_api_base,
        "HOSTED_PAGE_ORIGINS": settings.stripe_api_base,
    }
    return {name: value for name, value in os.environ.items() if name != VARIABLE} | ours


@dataclass
class WorkerProcess:
    """One running worker. `failpoint` is the value of the variable, as `webhooks.claimed:kill9`."""

    environment: dict[str, str]
    log: Path
    failpoint: str | None = None
    running: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        extra = {VARIABLE: self.failpoint} if self.failpoint else {}
        command = [sys.executable, "worker.py"]
        self.running = process.start(command, environment=self.environment | extra, folder=ROOT, output=self.log)

    @property
    def pid(self) -> int:
        return self.running.pid

    def said(self, words: str) -> bool:
        """Whether its log has these words; a worker that ended without them will never say them."""
        found = words in self.log.read_text()
        assert found or self.running.poll() is None, f"the worker ended:\n{self.log.read_text()}"
        return found

    def started(self) -> WorkerProcess:
        until(lambda: self.said("worker_started"), "the worker starts")
        return self

    def send(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def terminate(self) -> int:
        """Ask it to stop; returns its exit code."""
        db.session.rollback()  # waiting in a transaction is what the database would cut off
        self.send(signal.SIGTERM)
        return self.running.wait(SECONDS_MAX)

    def kill(self) -> None:
        """Kill it and all that came from it, at once."""
        family = [self.running.pid]
        with suppress(psutil.NoSuchProcess):
            family += [child.pid for child in psutil.Process(self.running.pid).children(recursive=True)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.running.wait(SECONDS_MAX)


@dataclass
class Workers:
    """Starts workers and leaves none behind."""

    app: Flask
    folder: Path
    redis_url: str | None = None
    started: list[WorkerProcess] = field(default_factory=list)

    def start(self, failpoint: str | None = None, redis_url: str | None = None) -> WorkerProcess:
        """Start one; on the run's Redis unless another is given (`none` for none)."""
        chosen = redis_url or self.redis_url
        log = self.folder / f"worker-{len(self.started)}.log"
        made = WorkerProcess(environment_of(self.app, None if chosen == "none" else chosen), log, failpoint)
        self.started.append(made)
        return made

    def kill_all(self) -> None:
        for one in self.started:
            one.kill()
