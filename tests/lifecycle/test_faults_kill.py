"""Workers that are killed, paused and cut off in the middle of an event: it is applied once all the same."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.core.database import db
from portal.core.liveness import FAMILY
from portal.webhooks.models import StripeEvent
from tests import services
from tests.cast import Cast
from tests.own_servers import cut_connections
from tests.purchases import (
    BUSINESS_CREDITS,
    forget_effects,
    nothing_waits,
    paid_grants,
    rows_of,
    states,
    violations,
    waiting,
)
from tests.services import Plan
from tests.stage import Stage
from tests.worker_process import SECONDS_MAX, Workers, until

POINTS = ("webhooks.claimed", "webhooks.fetched", "webhooks.applied", "webhooks.committed")


def deliver_purchase(cast: Cast, stage: Stage) -> list[dict[str, Any]]:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    for event in events:
        assert stage.deliver(event) == 200
    return events


def assert_applied_once(cast: Cast, *, left: frozenset[str] = frozenset(("done", "ignored"))) -> None:
    assert states() == left
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert violations() == []


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_a_purchase_is_applied_once(cast: Cast, stage: Stage, workers: Workers, point: str) -> None:
    """Before the applying unit, in it and after it; in the end stands what an undisturbed worker leaves."""
    events = deliver_purchase(cast, stage)
    victim = workers.start(failpoint=f"{point}:kill9")
    assert victim.running.wait(SECONDS_MAX) == -signal.SIGKILL
    workers.start()
    until(nothing_waits, "all is applied")

    assert_applied_once(cast)
    # What was done with another event was never tried itself.
    tried = (StripeEvent.state == "done") & (StripeEvent.attempts > 0)
    attempts = set(db.session.execute(select(StripeEvent.attempts).where(tried)).scalars())
    assert attempts <= {1, 2}
    assert 2 in attempts or point == "webhooks.committed"
    workers.kill_all()
    disturbed = rows_of(cast.team_id)
    forget_effects(stage.app)
    for event in events:
        stage.deliver(event)
    stage.drain()
    assert disturbed == rows_of(cast.team_id)


def test_a_paused_worker_keeps_its_lease_and_its_late_write_is_refused(
    cast: Cast, stage: Stage, workers: Workers, tmp_path: Path
) -> None:
    """Nobody can tell a paused worker from a slow one until its lease has run out; then its write comes to nothing."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(event for event in stage.new_events() if event["type"] == "invoice.paid")
    stage.deliver(paid)
    (tmp_path / "hold").touch()
    paused = workers.start(failpoint=f"webhooks.fetched:hang:{tmp_path / 'hold'}")
    until(lambda: paused.said('"failpoint"'), "the worker has fetched")
    paused.send(signal.SIGSTOP)

    stage.drain()
    assert [state for _, state, _ in waiting()] == ["pending"], "its lease was not respected"
    db.session.execute(text("update stripe_events set lease_until = now()"))
    db.session.commit()
    # Another thread of the paused worker may hold a lock that is in the way, until the database cuts it off.
    until(lambda: stage.drain() >= 0 and nothing_waits(), "the other worker has applied it")
    assert_applied_once(cast, left=frozenset(["done"]))

    before = rows_of(cast.team_id)
    (tmp_path / "hold").unlink()
    paused.send(signal.SIGCONT)
    until(lambda: paused.said("lease_lost"), "the late worker is told")
    assert rows_of(cast.team_id) == before
    assert_applied_once(cast, left=frozenset(["done"]))
    assert paused.terminate() == 0


def test_a_worker_whose_connections_are_all_cut_goes_on(
    cast: Cast, stage: Stage, workers: Workers, test_plan: Plan
) -> None:
    """As after a restart of PostgreSQL: the pool is full of dead connections, and the lock on being alive is gone."""
    worker = workers.start().started()
    until(lambda: locks(test_plan) == 1, "the worker has announced itself")
    cut_connections(test_plan.admin)
    deliver_purchase(cast, stage)
    until(nothing_waits, "all is applied")
    until(lambda: locks(test_plan) == 1, "the worker has announced itself again")
    assert_applied_once(cast)
    assert worker.terminate() == 0
    assert locks(test_plan) == 0


def locks(plan: Plan) -> int:
    """How many workers are alive in the eyes of this test's database."""
    query = (
        "select count(*) from pg_locks join pg_database on pg_database.oid = database"
        " where locktype = 'advisory' and classid = %s and datname = %s"
    )
    with services.connect(plan.admin) as connection:
        row = connection.execute(query, [FAMILY, db.engine.url.database]).fetchone()
    assert row is not None
    return int(row[0])
