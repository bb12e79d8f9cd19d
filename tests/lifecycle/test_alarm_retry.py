"""What was given up is done again with `flask alarms retry`, with all of its tries, and its alarm is closed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.accounts.models import AuditEntry
from portal.billing.gateway import RateLimited, Unauthenticated, Unavailable
from portal.billing.mirror import NotYet
from portal.core import alarms
from portal.core.alarms import Alarm, raise_alarm
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications import outbox
from portal.notifications.messages import Message
from portal.notifications.models import OutboxItem
from portal.webhooks import apply, claim, handlers
from portal.webhooks.claim import Claimed
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.stage import Stage

MENDED = handlers.HANDLERS["payment_method.attached"]


def retry(app: Flask, alarm_id: str, *arguments: str) -> Result:
    result = app.test_cli_runner().invoke(args=["alarms", "retry", alarm_id, *arguments])
    db.session.remove()
    return result


def open_alarm() -> Alarm:
    (alarm,) = alarms.open_alarms()
    return alarm


def event_row(event_id: str) -> StripeEvent:
    query = select(StripeEvent).where(StripeEvent.event_id == event_id).execution_options(populate_existing=True)
    return db.session.execute(query).scalar_one()


@pytest.fixture
def card_event(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> str:
    """An event that fails for as long as its handler is not mended, beside others that were applied."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    monkeypatch.setattr(claim, "ATTEMPTS_MAX", 1)
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", _broken)
    return next(event["id"] for event in stage.deliver_all() if event["type"] == "payment_method.attached")


def _broken(_event: Claimed) -> None:
    raise RuntimeError("not mended yet")


def _waits(_event: Claimed) -> None:
    raise NotYet("what it needs is not here")


def test_a_dead_event_is_applied_once_its_cause_is_mended(
    app: Flask, card_event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm = open_alarm()
    assert (alarm.kind, alarm.subject) == ("dead_event", card_event)
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", MENDED)
    done = retry(app, alarm.id, "--reason", "the handler was mended")
    assert done.exit_code == 0, done.output
    apply.drain()
    assert event_row(card_event).state == "done"
    assert alarms.open_alarms() == []
    entry = db.session.execute(select(AuditEntry).where(AuditEntry.action == "alarm.retried")).scalar_one()
    assert (entry.target, entry.detail["reason"]) == (alarm.id, "the handler was mended")


def test_a_cause_that_is_not_mended_raises_a_new_alarm(app: Flask, card_event: str) -> None:
    first = open_alarm()
    assert retry(app, first.id, "--reason", "tried again").exit_code == 0
    apply.drain()
    assert event_row(card_event).state == "dead"
    assert (open_alarm().id != first.id, open_alarm().subject) == (True, card_event)


def test_an_event_that_was_given_up_has_its_day_of_waiting_again(
    app: Flask, card_event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", _waits)
    assert retry(app, open_alarm().id, "--reason", "tried again").exit_code == 0
    db.session.execute(text("update stripe_events set released_at = now() - interval '25 hours'"))
    db.session.commit()
    apply.drain()
    assert (open_alarm().kind, event_row(card_event).state) == ("given_up_event", "ignored")
    assert retry(app, open_alarm().id, "--reason", "it is on its way now").exit_code == 0
    apply.drain()
    assert event_row(card_event).state == "parked"
    assert alarms.open_alarms() == []


@pytest.mark.parametrize(
    "outage", [Unavailable("away"), RateLimited("slow down"), Unauthenticated("rolled"), PoolTimeout("full")]
)
def test_an_outage_uses_up_no_tries_however_long_it_lasts(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, outage: Exception
) -> None:
    def away(_event: Claimed) -> None:
        raise outage

    monkeypatch.setattr(claim, "ATTEMPTS_MAX", 3)
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", away)
    stage.subscribe(cast.owner, cast.team_id, "business")
    event = next(event["id"] for event in stage.deliver_all() if event["type"] == "payment_method.attached")
    for _hour in range(5):
        stage.advance(timedelta(hours=1))
        apply.drain()
        assert (event_row(event).state, event_row(event).attempts) == ("pending", 0)
        db.session.remove()
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", MENDED)
    stage.advance(timedelta(minutes=5))
    apply.drain()
    assert event_row(event).state == "done"
    assert [alarm.kind for alarm in alarms.open_alarms() if alarm.kind == "dead_event"] == []


def test_all_of_a_kind_are_tried_again_at_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ATTEMPTS_MAX", 1)
    with unit_of_work():
        for name in ("a", "b"):
            outbox.put_mail(Message("test", f"{name}@example.com", "Hello", "text", "<p>html</p>"))
        raise_alarm("ledger_drift", "team_1")
        raise_alarm("dead_mail", "mail_gone")  # and nothing is set aside any more

    def refuse(_message: Message) -> None:
        raise ConnectionRefusedError("try later")

    outbox.drain(refuse, keep_bodies=False)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["alarms", "retry", "--reason", "x"]).exit_code == 2
    done = runner.invoke(args=["alarms", "retry", "--kind", "dead_mail", "--reason", "the mail server is back"])
    assert (done.exit_code, "mail_gone is not set aside" in done.output) == (1, True)
    db.session.remove()
    sent: list[str] = []
    outbox.drain(lambda message: sent.append(message.recipient), keep_bodies=False)
    assert sorted(sent) == ["a@example.com", "b@example.com"]
    assert [alarm.kind for alarm in alarms.open_alarms()] == ["ledger_drift", "dead_mail"]


def test_a_dead_mail_is_sent_once_the_server_takes_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ATTEMPTS_MAX", 1)
    with unit_of_work():
        outbox.put_mail(Message("test", "a@example.com", "Hello", "text", "<p>html</p>"))

    def refuse(_message: Message) -> None:
        raise ConnectionRefusedError("try later")

    assert outbox.drain(refuse, keep_bodies=False) == 0
    assert retry(app, open_alarm().id, "--reason", "the mail server is back").exit_code == 0
    sent: list[str] = []
    outbox.drain(lambda message: sent.append(message.recipient), keep_bodies=False)
    assert sent == ["a@example.com"]
    assert db.session.execute(select(OutboxItem.state)).scalar_one() == "done"


@pytest.mark.parametrize("arguments", [[], ["--reason", " "]])
def test_a_reason_is_asked_for(app: Flask, card_event: str, arguments: list[str]) -> None:
    assert retry(app, open_alarm().id, *arguments).exit_code != 0
    assert event_row(card_event).state == "dead"


def test_what_cannot_be_done_again_is_said(app: Flask) -> None:
    with unit_of_work():
        raise_alarm("ledger_drift", "team_1")
        raise_alarm("dead_event", "evt_unknown")
    of_kind = {alarm.kind: alarm.id for alarm in alarms.open_alarms()}
    assert "nothing to try again" in retry(app, of_kind["ledger_drift"], "--reason", "x").output
    assert "not set aside" in retry(app, of_kind["dead_event"], "--reason", "x").output
    assert "There is no open alarm" in retry(app, "alarm_1", "--reason", "x").output
    assert len(alarms.open_alarms()) == 2
