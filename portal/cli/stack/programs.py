"""The programs of the stack, as data: what is run, how it is stopped, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable


@dataclass(frozen=True)
class Program:
    """One supervised program. Lower `rank`s are stopped later; `stop_seconds` is how long it may take to end itself."""

    name: str
    command: Sequence[str]
    rank: int
    stop_signal: str = "TERM"
    stop_seconds: int = 30
    user: str | None = None
    shown: bool = True


def postgres(command: Sequence[str], user: str | None) -> Program:
    # SIGINT ends sessions and writes a checkpoint, so that the next start need not recover.
    # On macOS it does not start in a locale that does not exist there; its databases have their own anyway.
    command = ["/usr/bin/env", "LC_ALL=C", *command]
    return Program("postgres", command, rank=1, stop_signal="INT", stop_seconds=120, user=user, shown=False)


def redis(command: Sequence[str]) -> Program:
    return Program("redis", command, rank=2, shown=False)


def sandbox(port: int, portal_port: int, state: Path) -> Program:
    """The stand-in for Stripe; its key and signing secret come from the environment, not the list of processes."""
    hook = f"http://127.0.0.1:{portal_port}/webhooks/stripe"
    address = f"http://127.0.0.1:{port}"
    command = [PYTHON, "-m", "portal.sandbox", "--port", str(port), "--state", str(state)]
    return Program("sandbox", [*command, "--webhook-url", hook, "--public-url", address], rank=3)


def web() -> Program:
    return Program("web", [PYTHON, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"], rank=4)


def worker() -> Program:
    return Program("worker", [PYTHON, "worker.py"], rank=4)


def flask(*arguments: str) -> list[str]:
    """One of our own commands, run once."""
    return [PYTHON, "-m", "flask", "--app", "wsgi", *arguments]
