"""The worker as a process: it stops when it is asked to, shares the work with another, and is not held up by poison."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import select, text

from portal.core import jobs
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.jobs import DRAIN, QUEUE
from portal.webhooks import apply, handlers
from portal.webhooks.claim import ATTEMPTS_MAX, Claimed
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, states, violations, waiting
from tests.stage import Stage
from tests.worker_process import Workers, until

PURCHASES = 30


def test_an_idle_worker_ends_when_asked_also_twice(workers: Workers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = workers.start().started()
        worker.send(number)
        assert worker.terminate() == 0
        assert worker.said("worker_stopped")


def test_asked_to_end_in_the_middle_of_an_event_it_finishes_that_one_only(
    cast: Cast, stage: Stage, workers: Workers, tmp_path: Path
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        stage.deliver(event)
    before = len(waiting())
    (tmp_path / "hold").touch()
    worker = workers.start(failpoint=f"webhooks.fetched:hang:{tmp_path / 'hold'}", redis_url="none")
    until(lambda: worker.said('"failpoint"'), "it is in the middle of an event")
    worker.send(signal.SIGTERM)
    (tmp_path / "hold").unlink()
    assert worker.running.wait(60) == 0
    assert len(waiting()) == before - 1
    workers.start()
    until(nothing_waits, "the next worker does the rest")
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def test_two_workers_share_thirty_purchases_while_one_is_killed_and_stopped_again_and_again(
    stage: Stage, workers: Workers
) -> None:
    """Shuffled and a third of it twice, under kills and requests to end: each effect once, and the sums are right."""
    teams = [_buy(stage, number) for number in range(PURCHASES)]
    events = stage.new_events()
    shuffled = events + random.sample(events, len(events) // 3)
    random.shuffle(shuffled)
    workers.start()
    for number, event in enumerate(shuffled):
        assert stage.deliver(event) == 200
        if number % (len(shuffled) // 3) == 10:
            workers.start()
    _trouble(workers)
    until(nothing_waits, "all is applied")

    assert states() == {"done", "ignored"}
    assert len(db.session.execute(select(StripeEvent.id)).all()) == len({event["id"] for event in events})
    assert [paid_grants(team_id) for team_id in teams] == [[BUSINESS_CREDITS]] * PURCHASES
    total = db.session.execute(text("select sum(available) from credit_accounts")).scalar()
    assert total == PURCHASES * BUSINESS_CREDITS
    assert violations() == []
    assert db.session.execute(select(Alarm.kind)).all() == []


def _buy(stage: Stage, number: int) -> str:
    person, team_id = make_buyer(stage.app, f"Team {number}")
    stage.subscribe(person, team_id, "business")
    return team_id


def _trouble(workers: Workers) -> None:
    """Kill one, ask the next to end, and let a fresh one take its place, while there is work."""
    for round_, victim in enumerate(list(workers.started)):
        if nothing_waits():
            break
        workers.start()
        if round_ % 2 and victim.running.poll() is None:
            assert victim.terminate() == 0
        else:
            victim.kill()


def test_events_are_not_lost_however_often_the_worker_is_asked_to_end(
    cast: Cast, stage: Stage, workers: Workers
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        stage.deliver(event)
        worker = workers.start() if not workers.started or workers.started[-1].running.poll() is not None else None
        if worker:
            worker.send(signal.SIGTERM)  # as it starts, more often than not before it has looked
    workers.start()
    until(nothing_waits, "all is applied")
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert violations() == []


def test_a_poison_event_holds_up_nobody_and_is_dead_after_twelve_tries(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    for event in events:
        stage.deliver(event)
    # One whose news no other event brings.
    poison = next(event["id"] for event in events if event["type"] == "payment_method.attached")
    monkeypatch.setitem(handlers.HANDLERS, "payment_method.attached", _raises_for(poison))
    stage.drain()
    assert [event_id for event_id, _, _ in waiting()] == [poison]
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS], "the others were applied all the same"

    pauses, tried = [], 0
    while left := waiting():
        ((event_id, state, attempt),) = left
        # A drain that takes longer than the first pauses, on a slow machine, has tried it again already.
        assert (event_id, state, attempt > tried) == (poison, "pending", True)
        tried = attempt
        pauses.append(_pause_of(poison))
        db.session.remove()
        stage.advance(max(pauses[-1], timedelta()) + timedelta(seconds=1))
        apply.drain()
    assert all(later > earlier or later > timedelta(minutes=50) for earlier, later in itertools.pairwise(pauses))
    assert waiting() == []
    row = db.session.execute(select(StripeEvent).where(StripeEvent.event_id == poison)).scalar_one()
    assert (row.state, row.attempts) == ("dead", ATTEMPTS_MAX)
    assert row.last_error == "RuntimeError: poison"
    alarms = db.session.execute(select(Alarm.kind, Alarm.subject)).all()
    assert [tuple(alarm) for alarm in alarms] == [("dead_event", poison)]


def _raises_for(event_id: str) -> Callable[[Claimed], None]:
    original = handlers.HANDLERS["customer.subscription.created"]

    def handler(event: Claimed) -> None:
        if event.event_id == event_id:
            raise RuntimeError("poison")
        original(event)

    return handler


def _pause_of(event_id: str) -> timedelta:
    """How long the event still waits for its next try."""
    query = text("select run_at - app_now() from stripe_events where event_id = :id")
    found: Any = db.session.execute(query, {"id": event_id}).scalar_one()
    return found if isinstance(found, timedelta) else timedelta()


def test_a_hint_in_redis_holds_nothing_worth_reading(cast: Cast, stage: Stage, redis_url: str) -> None:
    """No argument, no address, no team: only that somebody should look. Read as JSON, so nothing is unpickled."""
    if redis_url == "none":
        assert jobs.hint() is False
        return
    redis: Any = Redis.from_url(redis_url)
    redis.delete(f"rq:queue:{QUEUE}")
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        stage.deliver(event)
    found = Queue(QUEUE, connection=redis, serializer=JSONSerializer).jobs
    assert found
    for job in found:
        assert (job.func_name, job.args, job.kwargs) == (DRAIN, [], {})
        stored = b" ".join(name + b" " + value for name, value in redis.hgetall(job.key).items())
        for secret in (b"@", b"team_", b"user_", b"evt_", b"cus_"):
            assert secret not in stored
    redis.delete(f"rq:queue:{QUEUE}", *(job.key for job in found))
