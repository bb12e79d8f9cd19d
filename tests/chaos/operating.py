"""A run of the chaos at the ledger: teams, clients that are killed on the way, and the check of what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flask import Flask
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from portal.accounts.models import Team
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from tests.chaos.ledger_check import check
from tests.chaos.operations import REQUESTS_EACH, Plan
from tests.worker_process import ROOT, environment_of

TEAMS = 1_000


def make_plan(operations: int, clients: int, seed: int, teams: int = TEAMS) -> Plan:
    """The hot team and the others, in the database."""
    ids = [new_id("team") for _ in range(teams + 1)]
    with unit_of_work() as session:
        rows = [
            {"id": id_, "name": "Chaos", "billing_email": "chaos@example.com", "currency": "usd", "time_zone": "UTC"}
            for id_ in ids
        ]
        session.execute(insert(Team), rows)
        began = clock.now()
    db.session.remove()
    # A new request every two minutes or so, and a day at least: lots end, and most holds are closed before they do.
    hours = max(24, round(operations / clients * REQUESTS_EACH / 30))
    return Plan(seed, clients, operations, ids, began.isoformat(), hours)


def operate(app: Flask, plan: Plan, folder: Path, kill_every: float, seconds_max: float) -> float:
    """Let the clients do all of it; returns the seconds that took. Raises `AssertionError` when one fails."""
    plan.write(folder)
    errors = folder / "errors"
    command = [sys.executable, "-m", "tests.chaos.clients", str(folder), str(kill_every)]
    began = time.monotonic()
    with errors.open("wb") as output:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment_of(app, None), stderr=output, start_new_session=True
        )
    try:
        assert running.wait(seconds_max) == 0, errors.read_text()[-4_000:]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    return time.monotonic() - began


def violations_of(app: Flask, plan: Plan, folder: Path) -> tuple[list[str], Counter[str]]:
    """By the logs and the tables alone."""
    return check(folder, database_url(app), plan.teams)


def database_url(app: Flask) -> str:
    """As the driver alone takes it."""
    url = make_url(app.config["SETTINGS"].database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def chaos_at_the_ledger(
    app: Flask, folder: Path, operations: int, clients: int, seed: int, kill_every: float, say: Callable[[str], None]
) -> None:
    """The whole of it; raises `AssertionError` when anything was lost, doubled or wrong."""
    plan = make_plan(operations, clients, seed)
    seconds = operate(app, plan, folder, kill_every, seconds_max=operations)
    say(f"{operations:,} operations of {clients} clients in {seconds:.0f} s; now the check")
    faults, figures = violations_of(app, plan, folder)
    for name, count in sorted(figures.items()):
        say(f"  {name}: {count:,}")
    assert not faults, f"{len(faults)} violations:\n" + "\n".join(faults[:40])
    say("0 violations")
