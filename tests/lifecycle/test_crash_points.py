"""A process that is killed at every single point of a unit, one point after another: all of the unit is there, or nothing.

For each kind of event that moves money the points are counted first: every statement, every commit and every call to
Stripe. Then a worker comes for each of them, takes the event over from the one before it, and is killed one point
further on. After each kill everything in the database is compared with what stood there before, and with what stands
there in the end. The same for requests that write, whose caller does not know what became of them and asks again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from flask import Flask
from sqlalchemy import select, text

from portal.billing.models import Checkout, Customer, Payment
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.models import CreditEntry, CreditGrant
from portal.credits.queries import balance
from portal.exports import making
from tests.cast import Cast
from tests.conftest import TABLES, empty_tables
from tests.exporting import ask, fetch, newest, workbook_rows
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, states, violations
from tests.refund_desk import RefundDesk
from tests.stage import Stage
from tests.web.api.backend import backend_of
from tests.web.billing.test_history import NOON, keep, payment
from tests.worker_process import ROOT, environment_of, until

POINTS_MIN = 20
PAID = 29_900
# What tells how often and until when somebody tried, which a kill may well leave behind.
TRIES = "- 'attempts' - 'run_at' - 'lease_until' - 'lease_token' - 'lease_holder'"


def points_of(kind: str) -> Iterator[int]:
    """Where to kill a long story: at each point with `CRASH_POINTS=all`, else at every third, from another one a kind."""
    if os.environ.get("CRASH_POINTS") == "all":
        return count()
    return count(crc32(kind.encode()) % 3, 3)


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
        return f"select '{table}' as name, md5(coalesce(string_agg(r, '|' order by r), '')) as digest from ({rows}) x"  # noqa: S608

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


@dataclass(frozen=True)
class Flow:
    """An event, and what must have come of it in the end."""

    prepare: Callable[[Cast, Stage], dict[str, Any]]
    check: Callable[[Cast], object]


def _only(stage: Stage, kind: str) -> dict[str, Any]:
    return next(event for event in stage.new_events() if event["type"] == kind)


def _subscription(kind: str) -> Callable[[Cast, Stage], dict[str, Any]]:
    def prepare(cast: Cast, stage: Stage) -> dict[str, Any]:
        stage.subscribe(cast.owner, cast.team_id, "business")
        return _only(stage, kind)

    return prepare


def _renewal(cast: Cast, stage: Stage) -> dict[str, Any]:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    stage.advance(timedelta(days=32))
    ours = db.session.execute(select(Customer.stripe_id)).scalar_one()
    db.session.rollback()
    paid = [event for event in stage.new_events() if event["type"] == "invoice.paid"]
    return next(event for event in paid if event["data"]["object"]["customer"] == ours)  # earlier stories renew too


def _bundle(kind: str) -> Callable[[Cast, Stage], dict[str, Any]]:
    def prepare(cast: Cast, stage: Stage) -> dict[str, Any]:
        stage.subscribe(cast.owner, cast.team_id, "business")
        stage.deliver_all()
        stage.buy_bundle(cast.owner, cast.team_id)
        return _only(stage, kind)

    return prepare


def _granted(*amounts: int) -> Callable[[Cast], object]:
    def check(cast: Cast) -> None:
        assert paid_grants(cast.team_id) == list(amounts)

    return check


def _bundled(cast: Cast) -> None:
    query = select(CreditGrant.amount).where(CreditGrant.team_id == cast.team_id, CreditGrant.kind == "bundle")
    assert list(db.session.execute(query).scalars()) == [1_000]


FLOWS = {
    "a subscription, by its checkout": Flow(_subscription("checkout.session.completed"), _granted(BUSINESS_CREDITS)),
    "a subscription, by its invoice": Flow(_subscription("invoice.paid"), _granted(BUSINESS_CREDITS)),
    "a renewal": Flow(_renewal, _granted(BUSINESS_CREDITS, BUSINESS_CREDITS)),
    "a bundle, by its checkout": Flow(_bundle("checkout.session.completed"), _bundled),
    "a bundle, by its payment": Flow(_bundle("payment_intent.succeeded"), _bundled),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_killed_at_every_point_of_an_event_all_of_it_is_there_or_nothing(
    cast: Cast, stage: Stage, crasher: Crasher, flow: Flow
) -> None:
    books = Books()
    assert stage.deliver(flow.prepare(cast, stage)) == 200
    _kill_everywhere(crasher, books)
    assert states() <= {"done", "ignored"}
    flow.check(cast)
    assert violations() == []


def test_killed_at_every_point_of_a_refund_it_takes_its_credits_once(
    cast: Cast, stage: Stage, crasher: Crasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20,000 credits 15,000 were spent: half of the money back is 5,000 of what is left, and a debt of 5,000."""
    desk = RefundDesk.open(stage, monkeypatch)
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    with unit_of_work():
        ledger.spend(cast.team_id, 15_000, "usage:before")
    desk.refund(str(intent), PAID // 2)
    assert stage.deliver(desk.told[-1]) == 200
    _kill_everywhere(crasher, Books(), refunds=list(desk.refunds.values()))
    left = balance(cast.team_id)
    assert (left.available, left.debt) == (0, 5_000)
    assert violations() == []


def _kill_everywhere(crasher: Crasher, books: Books, **job: Any) -> None:
    """Kill one worker after another, each a point further on, until one comes to the end."""
    before = books.read()
    seen: list[dict[str, str]] = []
    while (answer := crasher.run("drain", kill_at=len(seen), **job)) is None:
        until(nothing_is_locked, "the database has noticed")
        due_again()
        seen.append(books.read())

    assert len(seen) >= POINTS_MIN, answer
    after = seen[-1]
    for number, now in enumerate(seen):
        half_done = [table for table in now if now[table] != before[table]]
        assert not half_done or now == after, f"at point {number} something stood in {half_done}"
    changes = seen.index(after)
    assert seen[changes:] == [after] * (len(seen) - changes), "something was taken back"
    assert books.read() == after, "something was done again"
    assert after != before
    assert nothing_waits()


def test_killed_at_every_point_of_reporting_a_use_it_is_taken_once(cast: Cast, app: Flask, crasher: Crasher) -> None:
    """The backend has no answer and sends the same again, until it has one."""
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    headers = {
        "Authorization": f"Bearer {backend.secret}",
        "Idempotency-Key": "one",
        "Content-Type": "application/json",
    }
    job = {"path": "/api/v1/usage", "data": json.dumps({"meter": "send_email", "quantity": 3}), "headers": headers}
    kills = 0
    while (answer := crasher.run("request", kill_at=kills, **job)) is None:
        kills += 1
        entries = db.session.execute(select(CreditEntry.amount).where(CreditEntry.kind == "spent")).scalars().all()
        assert entries in ([], [-3])
        db.session.rollback()
    assert answer["done"] == 200
    assert kills >= 8
    assert backend.credits()["available"] == 997
    assert violations() == []


def test_killed_at_every_point_of_beginning_a_checkout_there_is_one_customer_and_one_page(
    app: Flask, stage: Stage, crasher: Crasher
) -> None:
    """The person presses the button again: Stripe knows the team once, and of the pages that somebody was sent to one may
    be paid. A page of which the process died before it knew the address is nobody's, and runs out.
    """
    teams: list[str] = []
    answer = None
    while answer is None:
        person, team_id = make_buyer(app, f"Team {len(teams)}")
        cookie = person.client.get_cookie("turnpike")
        assert cookie
        headers = {"Cookie": f"turnpike={cookie.value}", "Content-Type": "application/x-www-form-urlencoded"}
        job = {"path": f"/teams/{team_id}/checkout", "data": "plan=business&interval=month", "headers": headers}
        answer = crasher.run("request", kill_at=len(teams), **job)
        stage.begin_checkout(person, team_id, "business")
        teams.append(team_id)

    assert answer["done"] == 303
    assert len(teams) > 10
    customers = stage.stripe("GET", "/v1/customers", limit=100)["data"]
    ours = Counter(one["metadata"].get("team_id") for one in customers)
    assert [ours[team_id] for team_id in teams] == [1] * len(teams)
    known = set(db.session.execute(select(Checkout.stripe_id)).scalars())
    for customer in customers:
        if customer["metadata"].get("team_id") in teams:
            pages = stage.stripe("GET", "/v1/checkout/sessions", customer=customer["id"])["data"]
            assert len([page for page in pages if page["status"] == "open" and page["id"] in known]) == 1


def test_killed_at_every_point_an_export_goes_on_and_is_whole(app: Flask, cast: Cast, crasher: Crasher) -> None:
    """Before each statement that writes and around each commit. There is no file before the last commit."""
    keep(*[payment(cast.team_id, amount=number, occurred_at=NOON + timedelta(hours=number)) for number in (3, 2, 1)])
    writing = ("before INSERT", "before UPDATE", "before DELETE", "before commit", "after commit")
    for point in count():
        assert ask(cast.owner, cast.team_id, "payments", "xlsx") == 303
        undisturbed = crasher.run("export", kill_at=point, among=writing, rows_a_step=2)
        until(nothing_is_locked, "the database has noticed")
        file = f"/teams/{cast.team_id}/exports/{newest().id}/file"
        assert cast.owner.client.get(file).status_code == (200 if newest().state == "done" else 404)
        making.drain(100)
        assert [row[4] for row in workbook_rows(fetch(cast.owner, newest()))[1:]] == [0.03, 0.02, 0.01], point
        if undisturbed is not None:
            break
        empty_tables(app, "exports", "export_parts", "notifications", "audit_entries")
    assert point >= 12
