"""Whose an event is: a lease ends with its worker, by time, or when it is settled, and only its holder may settle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from portal.billing.mirror import NotYet, UnknownCustomer
from portal.core import liveness
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.webhooks import apply, handlers
from portal.webhooks.claim import ATTEMPTS_MAX, Claimed, LeaseLost, applying, claim, fail, park
from portal.webhooks.models import StripeEvent
from tests.stage import Stage

EVENT: dict[str, Any] = {
    "id": "evt_leased",
    "object": "event",
    "type": "invoice.paid",
    "livemode": False,
    "data": {"object": {"id": "in_1", "object": "invoice"}},
}


@pytest.fixture
def announced(app: Flask) -> Iterator[None]:
    """This process counts as a worker."""
    liveness.announce()
    yield
    liveness.withdraw()


@pytest.fixture
def event(stage: Stage) -> str:
    """One event that waits; returns its id."""
    assert stage.deliver(EVENT | {"created": int(time.time())}) == 200
    return str(EVENT["id"])


def row() -> StripeEvent:
    query = select(StripeEvent).execution_options(populate_existing=True)
    found = db.session.execute(query).scalar_one()
    db.session.rollback()
    return found


def claimed() -> Claimed:
    found = claim()
    assert found is not None
    return found


def die() -> None:
    """What the kernel does for a killed process: its connection ends. The next worker has another number."""
    liveness.withdraw()
    liveness.announce()


def test_a_living_workers_lease_is_its_own(announced: None, event: str) -> None:
    first = claimed()
    assert row().lease_holder == liveness.holder()
    assert claim() is None
    with applying(first):
        pass
    done = row()
    assert (done.state, done.lease_until, done.lease_token, done.lease_holder) == ("done", None, None, None)


def test_a_dead_workers_event_is_taken_over_at_once_and_its_late_write_refused(announced: None, event: str) -> None:
    first = claimed()
    die()
    second = claimed()
    assert (second.event_id, second.attempts) == (event, 2)
    for late in (lambda: park(first, "late"), lambda: fail(first, RuntimeError("late"))):
        with pytest.raises(LeaseLost):
            late()
    with pytest.raises(LeaseLost), applying(first) as session:
        session.execute(text("update stripe_events set type = 'written too late'"))
    assert row().type == "invoice.paid"
    with applying(second):
        pass
    assert row().state == "done"


def test_without_a_known_holder_only_time_ends_a_lease(event: str) -> None:
    assert liveness.holder() is None
    claimed()
    assert claim() is None
    db.session.execute(text("update stripe_events set lease_until = now()"))
    db.session.commit()
    assert claimed().attempts == 2


def test_whatever_kills_its_workers_is_tried_ever_more_rarely_and_is_dead_in_the_end(
    announced: None, event: str, stage: Stage
) -> None:
    """An event that makes the process run out of memory, say, must not make a circle of crashes."""
    claimed()
    die()
    for attempt in range(2, ATTEMPTS_MAX + 1):
        assert claimed().attempts == attempt
        die()
        assert claim() is None
        stage.advance(timedelta(hours=1, seconds=1))
    assert claim() is None
    assert (row().state, row().last_error) == ("dead", "its worker died each time")
    assert db.session.execute(select(Alarm.subject)).scalars().all() == [event]


def test_waiting_for_a_customer_uses_up_no_attempts(event: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for hours; a short trouble of Stripe's after that must not be the end of it."""

    def unknown(_event: Claimed) -> None:
        raise UnknownCustomer("cus_1")

    def trouble(_event: Claimed) -> None:
        raise RuntimeError("Stripe is away")

    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", unknown)
    for _ in range(ATTEMPTS_MAX + 3):
        apply.drain()
        assert (row().state, row().attempts) == ("parked", 0)
        stage.advance(timedelta(minutes=1, seconds=1))
    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", trouble)
    apply.drain()
    assert (row().state, row().attempts) == ("pending", 1)


def test_what_waited_a_day_for_its_customer_is_given_up(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_event: Claimed) -> None:
        raise UnknownCustomer("cus_1")

    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", unknown)
    db.session.execute(text("update stripe_events set received_at = now() - interval '25 hours'"))
    db.session.commit()
    apply.drain()
    assert (row().state, row().last_error) == ("ignored", "no team has the customer cus_1")
    assert db.session.execute(select(Alarm.kind)).first() is None, "it is most likely another product's"


def test_what_waited_a_day_for_something_of_ours_is_given_up_with_an_alarm(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_event: Claimed) -> None:
        raise NotYet("the credits of cs_1 are not granted yet")

    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", missing)
    apply.drain()
    assert row().state == "parked"
    assert db.session.execute(select(Alarm.kind)).first() is None
    db.session.execute(text("update stripe_events set received_at = now() - interval '25 hours', run_at = app_now()"))
    db.session.commit()
    apply.drain()
    assert (row().state, row().last_error) == ("ignored", "the credits of cs_1 are not granted yet")
    assert [tuple(one) for one in db.session.execute(select(Alarm.kind, Alarm.subject))] == [("given_up_event", event)]


def test_losing_the_lease_while_settling_does_not_stop_the_drain(
    event: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler fails after another worker has taken the event over: neither is this one's to settle any more."""
    seen: list[str] = []

    def overtaken(claimed_event: Claimed) -> None:
        seen.append(claimed_event.event_id)
        if claimed_event.event_id == event:
            taken = "update stripe_events set lease_token = gen_random_uuid() where event_id = :id"
            db.session.execute(text(taken), {"id": event})
            db.session.commit()
        raise RuntimeError("too late")

    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", overtaken)
    stage.deliver(EVENT | {"id": "evt_next", "created": int(time.time())})
    assert apply.drain() == 2
    assert seen == [event, "evt_next"]


def test_a_body_that_cannot_be_read_any_more_holds_up_nobody(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claiming must never depend on what an event brings, or the oldest one could block the inbox."""
    db.session.execute(text("update stripe_events set body = '[[[['"))
    db.session.commit()
    seen: list[str | None] = []
    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", lambda claimed_event: seen.append(claimed_event.object_id))
    assert apply.drain() == 1
    assert seen == ["in_1"]


def test_a_process_that_is_to_end_takes_nothing_more(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.webhooks.apply.stopping", lambda: True)
    assert apply.drain() == 0
    assert row().attempts == 0


def test_the_lock_of_a_lost_connection_is_replaced(announced: None, event: str) -> None:
    before = liveness.holder()
    claimed()
    connection = liveness._mine.connection
    assert connection is not None
    raw = connection.connection.dbapi_connection
    assert raw is not None
    raw.close()
    liveness.announce()
    assert liveness.holder() not in (None, before)
    assert claimed().attempts == 2
    same = liveness.holder()
    liveness.announce()
    assert liveness.holder() == same
