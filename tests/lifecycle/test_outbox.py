"""Mails leave once, or are tried again; a mail server's trouble and a worker's death stop nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from portal.core import liveness
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications import outbox
from portal.notifications.messages import Message
from portal.notifications.models import OutboxItem
from portal.notifications.outbox import ATTEMPTS_MAX, drain, put_mail
from tests.stage import Stage


class MailServer:
    """Takes mails, except to the addresses it refuses."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.taken: list[str] = []

    def __call__(self, message: Message) -> None:
        if message.recipient in self.refused:
            raise ConnectionRefusedError("try later")
        self.taken.append(message.recipient)


@pytest.fixture
def announced(app: Flask) -> Iterator[None]:
    liveness.announce()
    yield
    liveness.withdraw()


def put(*recipients: str, key: str | None = None) -> None:
    with unit_of_work():
        for recipient in recipients:
            put_mail(Message("test", recipient, "Subject", "a secret link", "<p>a secret link</p>"), key)


def items() -> list[OutboxItem]:
    query = select(OutboxItem).order_by(OutboxItem.id).execution_options(populate_existing=True)
    found = list(db.session.execute(query).scalars())
    db.session.rollback()
    return found


@pytest.mark.usefixtures("app")
def test_a_mail_leaves_once_and_its_secrets_are_erased() -> None:
    put("a@example.com", key="welcome:1")
    put("a@example.com", key="welcome:1")
    server = MailServer()
    assert [drain(server, keep_bodies=False), drain(server, keep_bodies=False)] == [1, 0]
    assert server.taken == ["a@example.com"]
    [item] = items()
    assert (item.state, item.payload) == ("done", {"message": "test"})
    assert (item.lease_until, item.lease_token, item.lease_holder) == (None, None, None)


@pytest.mark.usefixtures("app")
def test_a_mail_of_a_unit_that_failed_never_leaves() -> None:
    def fail() -> None:
        with unit_of_work():
            put_mail(Message("test", "a@example.com", "S", "t", "h"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert items() == []


def test_a_refused_mail_holds_up_nobody_and_raises_an_alarm_in_the_end(stage: Stage) -> None:
    put("refused@example.com", "b@example.com", "c@example.com")
    server = MailServer("refused@example.com")
    drain(server, keep_bodies=False)
    assert sorted(server.taken) == ["b@example.com", "c@example.com"]
    pauses: list[Any] = []
    for attempt in range(1, ATTEMPTS_MAX):
        refused = items()[0]
        assert (refused.state, refused.attempts) == ("pending", attempt)
        assert drain(server, keep_bodies=False) == 0
        pauses.append(db.session.execute(text("select max(run_at) - app_now() from outbox")).scalar_one())
        db.session.rollback()
        stage.advance(pauses[-1] + timedelta(seconds=1))
        drain(server, keep_bodies=False)
    assert pauses[0] < pauses[1] < pauses[2]
    dead = items()[0]
    assert (dead.state, dead.attempts) == ("dead", ATTEMPTS_MAX)
    assert dead.last_error == "ConnectionRefusedError: try later"
    assert [tuple(row) for row in db.session.execute(select(Alarm.kind, Alarm.subject))] == [("dead_mail", dead.id)]
    assert sorted(server.taken) == ["b@example.com", "c@example.com"]


def test_many_workers_send_each_mail_once(app: Flask) -> None:
    recipients = [f"person{number}@example.com" for number in range(40)]
    put(*recipients)
    server = MailServer()
    start = threading.Barrier(6, timeout=60)

    def work(_number: int) -> int:
        with app.app_context():
            start.wait()
            return drain(server, keep_bodies=False)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 40
    assert sorted(server.taken) == sorted(recipients)


def test_a_dead_workers_mail_is_taken_over_at_once_and_a_living_ones_is_not(announced: None, stage: Stage) -> None:
    put("a@example.com")
    first = outbox._claim()
    assert first is not None
    db.session.expunge(first)  # as another process sees it
    assert outbox._claim() is None
    liveness.withdraw()
    liveness.announce()
    second = outbox._claim()
    assert second is not None
    assert second.attempts == 2
    with unit_of_work():
        outbox._record(first, {"state": "dead"})
    assert items()[0].state == "pending", "a lease that was lost may not settle"

    for _ in range(ATTEMPTS_MAX):
        liveness.withdraw()
        liveness.announce()
        assert outbox._claim() is None, "what kills its workers is tried ever more rarely"
        stage.advance(timedelta(hours=1, seconds=1))
        outbox._claim()
    assert (items()[0].state, items()[0].last_error) == ("dead", "its worker died each time")


def test_a_process_that_is_to_end_sends_nothing_more(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a@example.com")
    monkeypatch.setattr("portal.notifications.outbox.stopping", lambda: True)
    assert drain(MailServer(), keep_bodies=False) == 0
