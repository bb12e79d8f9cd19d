"""Kill a process at every point of a piece of work, as `kill -9` would, and compare what stands there each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from flask import Flask
from sqlalchemy import text

from portal.core.database import db
from tests.conftest import TABLES, empty_tables
from tests.purchases import make_buyer, nothing_waits
from tests.stage import Stage
from tests.worker_process import ROOT, environment_of, until

POINTS_MIN = 20
# What tells how often and until when somebody tried, which a kill may well leave behind.
TRIES = "- 'attempts' - 'run_at' - 'lease_until' - 'lease_token' - 'lease_holder'"


def points_of(kind: str, every: int = 3) -> Iterator[int]:
    """Where to kill a long story: at each point with `CRASH_POINTS=all`, else at one of so many, from another one a kind."""
    if os.environ.get("CRASH_POINTS") == "all":
        return count()
    return count(crc32(kind.encode()) % every, every)


class Crasher:
    """The other end of `tests/crash_child.py`."""

    def __init__(self, app: Flask, log: Path) -> None:
        environment = environment_of(app, None)
        command = [sys.executable, "-m", "tests.crash_child"]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n", log.read_text()

    def run(self, job: str, kill_at: int | None = None, **more: Any) -> dict[str, Any] | None:
        """Do a job in a child; returns what it answered, or None when it was killed at the point it was to die at."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"job": job, "kill_at": kill_at, **more}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        answer = json.loads(line)
        assert answer["killed"] or answer["answer"], self._log.read_text()
        return None if answer["killed"] else dict(answer["answer"])

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def crasher(portal_app: Flask, stripe_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crasher]:
    """One for all of these tests: to load the application takes as long as dozens of children."""
    empty_tables(portal_app)
    with portal_app.app_context():
        _rehearse(Stage(portal_app, stripe_url))
        db.session.remove()
    made = Crasher(portal_app, tmp_path_factory.mktemp("crashes") / "log")
    yield made
    made.stop()


def _rehearse(stage: Stage) -> None:
    """A subscription and a bundle whose events wait: by applying them the process learns what each child has to do."""
    first, second = (make_buyer(stage.app, name) for name in ("The first", "The second"))
    stage.subscribe(*first, "business")
    stage.deliver_all()
    stage.buy_bundle(*first)
    stage.subscribe(*second, "business")
    for event in stage.new_events():
        assert stage.deliver(event) == 200


class Books:
    """Everything in the database, as a digest of the rows of each table."""

    def __init__(self) -> None:
        self._query = text(" union all ".join(map(self._digest, db.session.execute(TABLES).scalars())))

    @staticmethod
    def _digest(table: str) -> str:
        row = f"to_jsonb(t) {TRIES}" if table == "stripe_events" else "to_jsonb(t)"
        rows = f"select ({row})::text as r from {table} t"  # noqa: S608  names of our own tables
        return f"select '{table}' as name, md5(coalesce(string_agg(r, '|' order by r), '')) as digest from ({rows}) x"  # noqa: S608  all of it is ours

    def read(self) -> dict[str, str]:
        found = {row.name: row.digest for row in db.session.execute(self._query)}
        db.session.rollback()
        return found


def nothing_is_locked() -> bool:
    """Whether PostgreSQL has noticed that whoever was killed is gone, and given up what they were at."""
    others = text(
        "select count(*) from pg_locks join pg_database on pg_database.oid = database"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    return not db.session.execute(others).scalar_one()


def due_again() -> None:
    """Somebody who is killed again and again waits ever longer; the pauses are another test's."""
    db.session.execute(text("update stripe_events set attempts = 0, run_at = app_now() where state = 'pending'"))
    db.session.commit()


def kill_everywhere(
    crasher: Crasher, books: Books, kind: str, job: str = "drain", *, points_min: int = POINTS_MIN, **more: Any
) -> None:
    """Kill one worker after another, each further on (`points_of` says where), until one comes to the end; compare all there
    is each time.
    """
    before = books.read()
    seen: list[dict[str, str]] = []
    for point in points_of(kind):
        if crasher.run(job, kill_at=point, **more) is not None:
            break
        until(nothing_is_locked, "the database has noticed")
        due_again()
        seen.append(books.read())

    assert point >= points_min
    after = books.read()
    assert after != before
    for number, now in enumerate(seen):
        half_done = [table for table in now if now[table] != before[table]]
        assert not half_done or now == after, f"after kill {number} something stood in {half_done}"
    undone = [now != after for now in seen]
    assert undone == sorted(undone, reverse=True), "something was taken back"
    assert nothing_waits()
