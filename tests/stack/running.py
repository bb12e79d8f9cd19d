"""A folder with small stand-ins for the portal's programs, and the stack run in it as a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from dotenv import dotenv_values

from portal.cli.stack.configuration import MARK
from portal.cli.stack.redis_server import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS_MAX = 90

WSGI = """
import os, pathlib, time
from flask import Flask
from flask.cli import AppGroup

app = Flask(__name__)

@app.get("/readyz")
def readyz():
    return str(os.getppid())

def command(group, name):
    made = app.cli.commands.get(group) or AppGroup(group)
    app.cli.add_command(made)
    @made.command(name)
    def run():
        with open("commands.log", "a") as log:
            log.write(f"{group} {name} {os.environ['DATABASE_OWNER_URL']}\\n")
        while pathlib.Path("hold").exists():
            time.sleep(0.05)

for words in ("db upgrade", "catalog sync", "demo seed"):
    command(*words.split())
"""
WORKER = """
import time
print("worker looks", flush=True)
while True:
    time.sleep(60)
"""


def make_root(root: Path) -> Path:
    """A folder that looks enough like the repository to be run."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "wsgi.py").write_text(WSGI)
    (root / "worker.py").write_text(WORKER)
    shutil.copy(REPOSITORY / "gunicorn.conf.py", root)
    return root


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.05)


@dataclass
class Run:
    """One `make run`, as a context manager that stops it at the end."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Run:
        self.port, self.sandbox_port = free_port(), free_port()
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
            "PYTHONPATH": str(REPOSITORY),
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "WEB_CONCURRENCY": "1",
            **self.settings,
        }
        self._output = self.root / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal.cli.stack", "run", "--root", str(self.root)],
                env=environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS_MAX)

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def dev_env(self) -> dict[str, str | None]:
        return dotenv_values(self.root / "instance" / "dev.env")

    def wait_up(self) -> None:
        until(lambda: "Turnpike is up" in self.output or self.process.poll() is not None, "the stack")
        assert self.process.poll() is None, self.output

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(SECONDS_MAX)

    def master(self) -> int | None:
        """The process id of the web server's master, as one of its workers tells it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return int(answer.read())
        except (OSError, urllib.error.URLError):
            return None


def living(root: Path) -> list[psutil.Process]:
    """Every process of the stack in `root`."""
    instance = root / "instance"
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == str(instance)
            ours = marked or process.cwd().startswith((f"{instance}/postgres", f"{instance}/redis"))
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # it has ended meanwhile, or belongs to somebody else
    return found
