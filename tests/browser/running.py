"""The whole stack as `make run` starts it, on free ports, in a folder of its own and on a database of the tests'."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dotenv import dotenv_values
from flask import Flask

from portal import create_app
from portal.cli.stack import process
from portal.cli.stack.redis_server import free_port
from portal.settings import load_settings
from tests import services
from tests.services import ROOT, Plan

SECONDS_MAX = 240
STOP_SECONDS_MAX = 120
PROGRAMS = ("wsgi.py", "worker.py", "gunicorn.conf.py")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
LOGS = ("web", "worker", "sandbox")


@dataclass
class RunningStack:
    """Web, worker and the stand-in for Stripe, up and with the demo team in the database."""

    root: Path
    base_url: str
    sandbox_url: str
    _marks: dict[str, int] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, str]:
        """The settings in force, as the runner published them."""
        found = dotenv_values(self.root / "instance" / "dev.env")
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def portal(self) -> Flask:
        """The application on the same database, in this process: for what a test sets up or looks up behind the pages."""
        return create_app(load_settings(self.settings))

    def close(self) -> None:
        """End the connections of our own side."""
        if "portal" in self.__dict__:
            with self.portal.app_context():
                services.close_connections()

    def mark_logs(self) -> None:
        """From here on `logs` tells what is new."""
        self._marks = {name: self._log(name).stat().st_size for name in LOGS if self._log(name).exists()}

    def logs(self, lines_max: int = 40) -> Iterator[tuple[str, str]]:
        """What each program has logged since the mark, its end only."""
        for name in LOGS:
            if self._log(name).exists():
                with self._log(name).open(errors="replace") as log:
                    log.seek(self._marks.get(name, 0))
                    yield name, "".join(log.readlines()[-lines_max:])

    def _log(self, name: str) -> Path:
        return self.root / "instance" / "logs" / f"{name}.log"


@contextmanager
def running(plan: Plan, worker: str) -> Iterator[RunningStack]:
    """Start a stack and stop it at the end; should this process be killed, the kernel tells the stack to stop."""
    root = Path(tempfile.mkdtemp(prefix="turnpike-browser-"))
    try:
        with services.database(plan, f"browser_{worker}") as urls, services.redis(plan) as redis_url:
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
                "PYTHONPATH": str(ROOT),
                "ENV": "development",
                "DATABASE_URL": urls.app,
                "DATABASE_OWNER_URL": urls.owner,
                "REDIS_URL": redis_url,
                "PORT": str(free_port()),
                "SANDBOX_PORT": str(free_port()),
                "WEB_CONCURRENCY": "1",
            }
            with _started(root, environment), closing(_look(environment, root)) as stack:
                yield stack
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _look(environment: dict[str, str], root: Path) -> RunningStack:
    web, sandbox = (f"http://127.0.0.1:{environment[name]}" for name in ("PORT", "SANDBOX_PORT"))
    return RunningStack(root, web, sandbox)


@contextmanager
def _started(root: Path, environment: dict[str, str]) -> Iterator[None]:
    """The real runner, with links to the real programs in its folder."""
    for name in PROGRAMS:
        (root / name).symlink_to(ROOT / name)
    output = root / "output"
    command = [sys.executable, "-m", "portal.cli.stack", "run", "--root", str(root)]
    runner = process.start(command, environment=environment, folder=root, output=output)
    try:
        deadline = time.monotonic() + SECONDS_MAX
        while "Turnpike is up" not in output.read_text(errors="replace"):
            said = output.read_text(errors="replace")
            assert runner.poll() is None, f"the stack did not come up:\n{said}"
            assert time.monotonic() < deadline, f"the stack is not up after {SECONDS_MAX} s:\n{said}"
            time.sleep(0.1)
        yield
    finally:
        process.stop(runner, signal.SIGTERM, STOP_SECONDS_MAX)
