"""Recurring tasks: whoever claims one runs it, and one that fails is noted and stops nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.event import listens_for, remove

from portal.core import clock
from portal.core.database import db
from portal.core.schedule import ScheduledTask, Task, run_due
from portal.core.unit_of_work import unit_of_work

HOUR = timedelta(hours=1)


def row(name: str) -> ScheduledTask:
    query = select(ScheduledTask).where(ScheduledTask.name == name).execution_options(populate_existing=True)
    return db.session.execute(query).scalar_one()


def move_clock(by: timedelta) -> None:
    db.session.rollback()
    with unit_of_work():
        clock.advance(by)


def test_a_task_runs_at_once_and_then_once_an_interval(app: Flask) -> None:
    runs: list[int] = []
    tasks = {"test": Task(lambda: runs.append(1), HOUR)}
    assert [run_due(tasks), run_due(tasks)] == [1, 0]
    move_clock(HOUR - timedelta(minutes=1))
    assert run_due(tasks) == 0
    move_clock(timedelta(minutes=2))
    assert [run_due(tasks), run_due(tasks)] == [1, 0]
    assert len(runs) == 2


def test_to_find_that_nothing_is_due_takes_one_statement_however_many_tasks_there_are(app: Flask) -> None:
    """The worker looks after each event: what that costs, every event costs."""
    tasks = {f"task {number}": Task(lambda: None, HOUR) for number in range(20)}
    assert run_due(tasks) == 20
    sent: list[str] = []

    @listens_for(db.engine, "before_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        sent.append(statement)

    try:
        assert run_due(tasks) == 0
    finally:
        remove(db.engine, "before_cursor_execute", count)
    assert len([one for one in sent if "schedule" in one]) == 1


def test_many_at_once_run_it_once(app: Flask) -> None:
    runs: list[int] = []
    tasks = {name: Task(lambda: runs.append(1), HOUR) for name in ("one", "two")}
    start = threading.Barrier(8, timeout=60)

    def look(_number: int) -> int:
        with app.app_context():
            start.wait()
            return run_due(tasks)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(look, range(8))) == 2
    assert len(runs) == 2


def test_a_task_that_fails_is_noted_and_stops_nobody(app: Flask) -> None:
    healthy: list[int] = []

    def failing() -> None:
        db.session.execute(select(1 / db.literal(0)))

    tasks = {"bad": Task(failing, HOUR), "good": Task(lambda: healthy.append(1), HOUR)}
    assert run_due(tasks) == 2
    assert healthy == [1]
    assert row("bad").last_error is not None
    assert "division by zero" in str(row("bad").last_error)
    assert row("bad").last_finished_at is not None
    assert row("good").last_error is None

    recovered = {"bad": Task(lambda: None, HOUR)}
    move_clock(HOUR)
    assert run_due(recovered) == 1
    assert row("bad").last_error is None


def test_a_clock_that_was_moved_back_does_not_stop_a_task(app: Flask) -> None:
    runs: list[int] = []
    tasks = {"test": Task(lambda: runs.append(1), HOUR)}
    move_clock(timedelta(days=400))
    run_due(tasks)
    move_clock(-timedelta(days=400))
    assert run_due(tasks) == 1
    assert len(runs) == 2


def test_two_features_cannot_name_a_task_alike() -> None:
    from portal import worker

    assert worker.tasks() is worker.tasks()
    assert all(name.count(".") == 1 for name in worker.tasks())


@pytest.mark.usefixtures("app")
def test_a_process_that_is_to_end_begins_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.core.schedule.stopping", lambda: True)
    assert run_due({"test": Task(lambda: None, HOUR)}) == 0
