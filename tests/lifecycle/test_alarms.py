"""Alarms: raised once, told once, resolved with a reason, raised anew; conditions come and go by themselves."""

from __future__ import annotations

import ast
import html
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.accounts.models import AuditEntry
from portal.core import alarms, readings
from portal.core.alarm_words import MEANINGS
from portal.core.alarms import Alarm, raise_alarm
from portal.core.database import db
from portal.core.ids import first_id, new_id
from portal.core.readings import StoredReading
from portal.core.schedule import ScheduledTask
from portal.core.unit_of_work import unit_of_work
from portal.credits import proof
from portal.notifications.jobs import tell_of_alarms
from portal.notifications.models import OutboxItem
from portal.webhooks import watch
from portal.webhooks.jobs import watch as run_watch
from portal.webhooks.models import StripeEvent
from tests import switches

ROOT = Path(__file__).resolve().parents[2]
TO = "ops@example.com"


def raise_one(kind: str = "dead_event", subject: str = "evt_1", **detail: Any) -> None:
    with unit_of_work():
        raise_alarm(kind, subject, **detail)


def all_alarms() -> list[tuple[str, str, bool]]:
    rows = db.session.execute(select(Alarm).order_by(Alarm.id).execution_options(populate_existing=True)).scalars()
    found = [(row.kind, row.subject, row.resolved_at is None) for row in rows]
    db.session.rollback()
    return found


def test_what_is_resolved_and_happens_again_is_a_new_alarm(app: Flask) -> None:
    raise_one()
    raise_one()
    assert all_alarms() == [("dead_event", "evt_1", True)]
    alarm_id = alarms.open_alarms()[0].id
    done = app.test_cli_runner().invoke(args=["alarms", "resolve", alarm_id, "--reason", "the handler was mended"])
    assert done.exit_code == 0, done.output
    raise_one()
    assert all_alarms() == [("dead_event", "evt_1", False), ("dead_event", "evt_1", True)]
    entry = db.session.execute(select(AuditEntry)).scalar_one()
    assert (entry.action, entry.target) == ("alarm.resolved", alarm_id)
    assert entry.detail["reason"] == "the handler was mended"


def test_the_list_says_what_each_means_and_whether_there_are_any(app: Flask) -> None:
    runner = app.test_cli_runner()
    assert runner.invoke(args=["alarms", "list"]).exit_code == 0
    raise_one(attempts=12)
    listed = runner.invoke(args=["alarms", "list"])
    assert listed.exit_code == 1
    assert "evt_1" in listed.output
    assert MEANINGS["dead_event"] in listed.output
    assert "attempts=12" in listed.output


@pytest.mark.parametrize("arguments", [["nothing", "--reason", "x"], ["alarm_1", "--reason", " "], ["alarm_1"]])
def test_only_an_open_alarm_is_resolved_and_only_with_a_reason(app: Flask, arguments: list[str]) -> None:
    raise_one()
    assert app.test_cli_runner().invoke(args=["alarms", "resolve", *arguments]).exit_code != 0
    assert all_alarms() == [("dead_event", "evt_1", True)]
    assert db.session.execute(select(AuditEntry)).all() == []


def mails() -> list[dict[str, Any]]:
    found = list(db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars())
    db.session.rollback()
    return found


def test_the_operator_is_told_once_of_each_and_of_several_in_one_mail(app: Flask) -> None:
    raise_one()
    raise_one("webhook_lag", "inbox")
    tell_of_alarms()
    assert mails() == [], "there is nobody to tell"
    with switches.settings(app, alarm_mail=TO):
        tell_of_alarms()
        tell_of_alarms()
        assert len(mails()) == 1
        raise_one(subject="evt_2")
        tell_of_alarms()
    first, second = mails()
    assert first["to"] == TO
    assert "2 alarms" in first["subject"]
    for part in ("text", "html"):
        assert "evt_1" in first[part]
        assert MEANINGS["webhook_lag"] in html.unescape(first[part])
        assert "evt_2" in second[part]
        assert "evt_1" not in second[part]


def test_a_mail_about_alarms_that_cannot_be_sent_is_not_mailed_about(app: Flask) -> None:
    raise_one("dead_mail", "mail_1", message="alarms", attempts=8)
    with switches.settings(app, alarm_mail=TO):
        tell_of_alarms()
        assert mails() == []
        raise_one("dead_mail", "mail_2", message="confirm_email", attempts=8)
        tell_of_alarms()
    assert len(mails()) == 1


def event(event_type: str, received_ago: timedelta, state: str = "ignored") -> None:
    with unit_of_work() as session:
        now = watch._real_now()
        row = StripeEvent(
            id=first_id("evt", now - received_ago)[:14] + new_id("evt")[14:], event_id=new_id("evt"), type=event_type,
            object_id=new_id("in"), livemode=False, body=b"", state=state, received_at=now - received_ago,
        )  # fmt: skip
        session.add(row)


def open_now() -> set[tuple[str, str]]:
    run_watch()
    found = {(alarm.kind, alarm.subject) for alarm in alarms.open_alarms()}
    db.session.rollback()
    return found


def test_events_that_wait_for_more_than_five_minutes(app: Flask) -> None:
    event("invoice.paid", timedelta(minutes=4), "pending")
    assert open_now() == set()
    event("invoice.paid", timedelta(minutes=6), "pending")
    assert open_now() == {("webhook_lag", "inbox")}
    assert open_now() == {("webhook_lag", "inbox")}
    with switches.settings(app, billing_enabled=False):
        assert open_now() == set(), "while billing is off they are meant to wait"
    assert open_now() == {("webhook_lag", "inbox")}
    assert len(all_alarms()) == 2
    set_all(StripeEvent, state="done")
    assert open_now() == set()


def test_many_more_payments_fail_than_usual(app: Flask) -> None:
    for day in range(2, 8):
        for _ in range(2):
            event("invoice.payment_failed", timedelta(days=day))
    for _ in range(5):
        event("invoice.payment_failed", timedelta(hours=3))
    assert open_now() == set(), "5 in a day are not three times the 1.7 of a usual one"
    event("invoice.payment_failed", timedelta(hours=3))
    assert open_now() == {("payment_failures", "payments")}
    set_all(StripeEvent, type="invoice.paid")
    assert open_now() == set()


def test_a_few_failures_are_no_alarm_however_few_there_were_before(app: Flask) -> None:
    for _ in range(4):
        event("invoice.payment_failed", timedelta(hours=1))
    assert open_now() == set()
    event("invoice.payment_failed", timedelta(hours=1))
    assert open_now() == {("payment_failures", "payments")}


def test_a_task_that_does_not_run_and_one_that_fails(app: Flask) -> None:
    with unit_of_work() as session:
        now = watch._real_now()
        session.add(ScheduledTask(name="a.task", next_run_at=now - timedelta(minutes=9)))
        session.add(ScheduledTask(name="b.task", next_run_at=now + timedelta(days=1)))
    assert open_now() == set()
    set_all(ScheduledTask, next_run_at=ScheduledTask.next_run_at - timedelta(minutes=2), last_error="KeyError: 'x'")
    assert open_now() == {("task_overdue", "a.task"), ("task_failing", "a.task"), ("task_failing", "b.task")}


def test_a_proof_that_is_too_old(app: Flask) -> None:
    with unit_of_work():
        readings.take(proof.DRIFT, 0)
    assert open_now() == set()
    set_all(StoredReading, taken_at=StoredReading.taken_at - timedelta(hours=49))
    assert open_now() == {("proof_missing", "ledger")}


def set_all(model: Any, **values: object) -> None:
    with unit_of_work() as session:
        session.execute(update(model).values(values), execution_options={"synchronize_session": False})


def kinds_raised() -> Iterator[tuple[str, Path]]:
    """Every kind that the code raises: a literal, or a name that the same file gives a literal.

    Work that stands in a row says by `stuck` what is raised for it (`billing/leased_work.py`).
    """
    for path in (ROOT / "portal").rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for kind in filter(None, map(kind_in, ast.walk(tree))):
            if path.name not in ("alarms.py", "leased_work.py"):
                yield (
                    str(kind.value) if isinstance(kind, ast.Constant) else str(names.get(ast.unparse(kind), "?")),
                    path,
                )


def kind_in(node: ast.AST) -> ast.expr | None:
    """The kind of alarm that a call raises, or says is to be raised."""
    if not isinstance(node, ast.Call):
        return None
    if getattr(node.func, "id", "") == "raise_alarm":
        return node.args[0]
    return next((given.value for given in node.keywords if given.arg == "stuck"), None)


def test_every_kind_has_its_words_and_its_row_in_the_guide() -> None:
    """A new kind needs a line in portal/core/alarm_words.py, and a row in the table of docs/operations.md."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    raised = {kind for kind, _ in kinds_raised()} | set(watch.CONDITIONS)
    assert raised - set(MEANINGS) == set()
    assert {kind for kind in MEANINGS if f"| `{kind}` |" not in guide} == set()
