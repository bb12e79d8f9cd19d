"""Redis stopped, emptied and paused at every stage of an event: before it is received, before it is claimed, in the
handler and after the commit. It is applied once, and while the trouble lasts: by polling.

One worker goes through all troubles at its stage, as one that outlives them would.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from portal.core import jobs
from portal.core.database import db
from portal.credits.queries import balance
from tests.own_servers import OwnRedis
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, states, violations, waiting
from tests.stage import Stage
from tests.worker_process import WorkerProcess, Workers, until


@dataclass(frozen=True)
class Trouble:
    begin: Callable[[OwnRedis], Any]
    end: Callable[[OwnRedis], Any]


def _flush(redis: OwnRedis) -> None:
    redis.client.flushall()


def _pause(redis: OwnRedis) -> None:
    redis.send(signal.SIGSTOP)


def _resume(redis: OwnRedis) -> None:
    redis.send(signal.SIGCONT)


TROUBLES = {
    "stopped": Trouble(OwnRedis.kill, OwnRedis.start),
    "flushed": Trouble(_flush, lambda _redis: None),
    "paused": Trouble(_pause, _resume),
}


@dataclass
class Story:
    """A stage, its worker, and the file that holds the worker at the stage's failpoint while it exists."""

    stage: Stage
    redis: OwnRedis
    worker: WorkerProcess
    hold: Path

    def deliver(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            assert self.stage.deliver(event) == 200

    @contextmanager
    def held(self) -> Iterator[None]:
        """The worker waits at its failpoint from the first event that comes there until the block ends."""
        passed = self._passed()
        self.hold.touch()
        yield
        until(lambda: self._passed() > passed, "the worker is at the point")
        assert waiting()

    def _passed(self) -> int:
        return self.worker.log.read_text().count('"failpoint"')


def _before_it_is_received(story: Story, events: list[dict[str, Any]], begin: Callable[[], Any]) -> None:
    begin()
    story.deliver(events)


def _before_it_is_claimed(story: Story, events: list[dict[str, Any]], begin: Callable[[], Any]) -> None:
    story.worker.send(signal.SIGSTOP)
    story.deliver(events)
    begin()
    assert {attempts for _, _, attempts in waiting()} == {0}
    db.session.rollback()
    story.worker.send(signal.SIGCONT)


def _at_the_failpoint(story: Story, events: list[dict[str, Any]], begin: Callable[[], Any]) -> None:
    with story.held():
        story.deliver(events)
    begin()
    story.hold.unlink()


STAGES: dict[str, tuple[str, Callable[[Story, list[dict[str, Any]], Callable[[], Any]], None]]] = {
    "before the event is received": ("", _before_it_is_received),
    "between receiving and claiming": ("", _before_it_is_claimed),
    "in the handler": ("webhooks.applied", _at_the_failpoint),
    "after the commit": ("webhooks.committed", _at_the_failpoint),
}


@pytest.mark.parametrize(("point", "at_stage"), STAGES.values(), ids=STAGES.keys())
def test_whatever_befalls_redis_at_this_stage_a_purchase_is_applied_once(
    stage: Stage,
    on_own_redis: OwnRedis,
    workers: Workers,
    tmp_path: Path,
    point: str,
    at_stage: Callable[[Story, list[dict[str, Any]], Callable[[], Any]], None],
) -> None:
    hold = tmp_path / "hold"
    failpoint = f"{point}:hang:{hold}" if point else None
    worker = workers.start(failpoint, redis_url=on_own_redis.url)
    story = Story(stage, on_own_redis, worker, hold)
    until(on_own_redis.workers, "the worker listens")
    for name, trouble in TROUBLES.items():
        person, team_id = make_buyer(stage.app, f"Team {name}")
        stage.subscribe(person, team_id, "business")
        assert jobs.hint() is True
        at_stage(story, stage.new_events(), lambda trouble=trouble: trouble.begin(on_own_redis))  # type: ignore[misc]
        until(nothing_waits, f"all is applied while Redis is {name}")
        trouble.end(on_own_redis)

        assert states() <= {"done", "ignored"}, name
        assert paid_grants(team_id) == [BUSINESS_CREDITS], name
        assert balance(team_id).available == BUSINESS_CREDITS, name
        until(jobs.hint, "the web has found it again")
        until(lambda: on_own_redis.hints() == 0, "the worker has found it again")
    assert _causes_twice() == []
    assert violations() == []
    assert worker.terminate() == 0


def _causes_twice() -> list[Any]:
    twice = text("select team_id, cause_key from credit_entries group by team_id, cause_key having count(*) > 1")
    return list(db.session.execute(twice))
