"""A process that makes children, each of which does one job and dies at a given point of it, as `kill -9` would have it.

It reads jobs from its input, a line of JSON each, and answers each with a line. Forking a process that has the
application loaded takes milliseconds, so that a test can try every point there is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import psycopg
import requests
from flask import Flask
from sqlalchemy.orm import configure_mappers

from portal import create_app
from portal.billing.gateway import Gateway, _gateway, gateway
from portal.billing.jobs import drain_changes, drain_payments
from portal.core import liveness, statements
from portal.core.database import db
from portal.credits import jobs as credit_jobs
from portal.exports import making
from portal.usage.jobs import drain_reports, freeze_reports
from portal.webhooks import apply
from tests import services


class Points:
    """Counts the places a job passes where a kill makes a difference, and kills at one of them.

    They are: before each statement, around each commit, around each call to Stripe. Between one statement and the next
    nothing leaves the process, so that after a statement is before the next one. A test that needs only some of them
    counts those `among` whose names begin so.
    """

    def __init__(self, kill_at: int | None, among: tuple[str, ...]) -> None:
        self._kill_at = kill_at
        self._among = among
        self.passed: list[str] = []

    def come_to(self, name: str) -> None:
        if not name.startswith(self._among):
            return
        if len(self.passed) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)

    def watch(self) -> None:
        self._around(psycopg.Cursor, "execute", lambda _self, statement, *_: _words(statement), after=False)
        self._around(statements, "run", lambda _connection, statement, *_: _words(statement.sql), after=False)
        self._around(psycopg.Connection, "commit", lambda *_: "commit")
        self._around(requests.Session, "request", lambda _self, method, url, *_, **__: f"{method} {url}")

    def _around(self, owner: Any, name: str, words: Callable[..., str], *, after: bool = True) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **more: Any) -> Any:
            label = words(*args, **more)
            self.come_to(f"before {label}")
            answer = original(*args, **more)
            if after:
                self.come_to(f"after {label}")
            return answer

        setattr(owner, name, watched)


def _words(statement: Any) -> str:
    text = statement.decode() if isinstance(statement, bytes) else str(statement)
    return " ".join(text.split())[:60]


def _drain(app: Flask, _job: dict[str, Any]) -> int:
    return apply.drain()


def _change(app: Flask, _job: dict[str, Any]) -> int:
    return drain_changes()


def _pay(app: Flask, _job: dict[str, Any]) -> int:
    return drain_payments()


def _report(app: Flask, _job: dict[str, Any]) -> int:
    return freeze_reports() + drain_reports()


def _purchase(app: Flask, _job: dict[str, Any]) -> int:
    return credit_jobs.drain_purchases()


def _export(app: Flask, job: dict[str, Any]) -> int:
    making.ROWS_A_STEP = job["rows_a_step"]
    return making.drain(100)


def _scheduled(app: Flask, job: dict[str, Any]) -> int:
    """A task of the schedule for credits, as if it were its time."""
    done = credit_jobs.SCHEDULE[job["task"]].run()
    assert isinstance(done, int)
    return done


def _request(app: Flask, job: dict[str, Any]) -> int:
    client = app.test_client(use_cookies=False)
    return client.open(job["path"], method="POST", data=job["data"], headers=job["headers"]).status_code


def _answer_refunds(known: list[dict[str, Any]]) -> None:
    """Answer as `tests/refund_desk.py` does, from what its test has written down."""
    by_id = {refund["id"]: refund for refund in known}

    def refund(_self: Gateway, refund_id: str) -> dict[str, Any]:
        return by_id[refund_id]

    def refunds_of(_self: Gateway, payment_intent_id: str) -> list[dict[str, Any]]:
        return [one for one in known if one["payment_intent"] == payment_intent_id]

    setattr(Gateway, refund.__name__, refund)
    setattr(Gateway, refunds_of.__name__, refunds_of)


JOBS = {
    "drain": _drain,
    "change": _change,
    "export": _export,
    "pay": _pay,
    "purchase": _purchase,
    "report": _report,
    "request": _request,
    "scheduled": _scheduled,
}


def _child(app: Flask, job: dict[str, Any], answer_to: int) -> NoReturn:
    points = Points(job["kill_at"], tuple(job.get("among", [""])))
    if "refunds" in job:
        _answer_refunds(job["refunds"])
    with app.app_context():
        if job["job"] != "request":
            liveness.announce()
        db.session.remove()
        points.watch()
        done = JOBS[job["job"]](app, job)
    os.write(answer_to, json.dumps({"done": done, "points": points.passed}).encode())
    os._exit(0)


def _warm_up(app: Flask) -> None:
    """Do once what every child would otherwise do for itself: apply what is there, which composes the statements.

    Connections are not handed down, since all children would talk on the same one.
    """
    configure_mappers()
    with app.app_context():
        apply.drain()
        services.close_connections()
        _gateway.cache_clear()
        gateway()


def main() -> None:
    app = create_app()
    app.config["WTF_CSRF_ENABLED"] = False
    _warm_up(app)
    print("ready", flush=True)  # noqa: T201  its parent reads it
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                _child(app, json.loads(line), writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read().decode()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": killed, "answer": json.loads(answer) if answer else None}), flush=True)  # noqa: T201  its parent reads it


if __name__ == "__main__":
    main()
