"""Recurring tasks as rows: whichever worker's conditional UPDATE wins runs the task, however many workers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import APP_NOW, app_now
from portal.core.database import Model, UtcDateTime, db, send
from portal.core.statements import Statement
from portal.core.stopping import stopping
from portal.core.unit_of_work import end_read, run_in_unit, unit_of_work

log = structlog.get_logger(__name__)

# A worker looks after every event, at tasks whose work is mostly a look as well: what is around them must cost little.
CLAIM = Statement(
    "insert into schedule as s (name, next_run_at, last_started_at)"  # noqa: S608  all of it is ours
    f" values (:name, {APP_NOW} + cast(:first as interval), case when :at_once then {APP_NOW} end)"
    f" on conflict (name) do update set next_run_at = {APP_NOW} + cast(:every as interval), last_started_at = {APP_NOW}"
    f" where s.next_run_at <= {APP_NOW} or s.next_run_at > {APP_NOW} + cast(:every as interval)"
    " returning last_started_at is not null as claimed"
)
FINISH = Statement(
    f"update schedule set last_finished_at = {APP_NOW}, last_error = cast(:error as text) where name = :name"  # noqa: S608  all of it is ours
)


class ScheduledTask(Model):
    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_run_at: Mapped[UtcDateTime]
    last_started_at: Mapped[UtcDateTime | None]
    last_finished_at: Mapped[UtcDateTime | None]
    last_error: Mapped[str | None]


@dataclass(frozen=True)
class Task:
    """A task must be safe to run twice and to skip: it sweeps for due work that stands in its own table."""

    run: Callable[[], object]
    every: timedelta
    # How long after a worker first sees the task it runs for the first time; no more than `every`.
    first_in: timedelta = timedelta()


class SomeFailed(Exception):
    """Some pieces of a task could not be done this time; the log says why, and the schedule tries them again."""


def each_in_a_unit(pieces: Sequence[Callable[[], int | None]]) -> int:
    """Do each piece in a unit of its own, so that one team in trouble does not hold up the others; returns their sum.

    Raises `SomeFailed` once all were tried.
    """
    done = failed = 0
    for piece in pieces:
        try:
            done += run_in_unit(piece) or 0
        except Exception:  # whatever it is, it is this piece's
            log.exception("piece_failed")
            failed += 1
    if failed:
        raise SomeFailed(f"{failed} of {len(pieces)} failed")
    return done


def run_due(tasks: Mapping[str, Task]) -> int:
    """Run every task that is due and could be claimed; returns how many ran. One that fails does not stop the others."""
    due = _seem_due(tasks)
    return sum(_run(name, task) for name, task in due.items() if not stopping() and _claim(name, task))


def _seem_due(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks that are worth a claim. The worker looks after every event, and mostly there are none: to find that out
    takes one statement, where trying to claim each of them took more than applying the event.
    """
    columns = (ScheduledTask.name, ScheduledTask.next_run_at, app_now())
    rows = db.session.execute(select(*columns).where(ScheduledTask.name.in_(tasks))).all()
    end_read()
    ahead = {name: next_run_at - now for name, next_run_at, now in rows}
    return {
        name: task for name, task in tasks.items() if name not in ahead or not timedelta() < ahead[name] <= task.every
    }


def _claim(name: str, task: Task) -> bool:
    """Move the task's next run on, if it is due now: one statement, so only one process sees it succeed.

    A next run further ahead than one interval stems from a clock that was moved back, and counts as due.
    """
    with unit_of_work():
        rows = send(CLAIM, name=name, every=task.every, first=task.first_in or task.every, at_once=not task.first_in)
    return bool(rows) and rows[0].claimed


def overdue_seconds() -> dict[str, float]:
    """For how long each task should have run by now; 0 for those that are not yet due."""
    late = func.greatest(func.extract("epoch", app_now() - ScheduledTask.next_run_at), 0)
    return {name: float(seconds) for name, seconds in db.session.execute(select(ScheduledTask.name, late))}


def failing() -> dict[str, str]:
    """The tasks whose last run failed, and how."""
    query = select(ScheduledTask.name, ScheduledTask.last_error).where(ScheduledTask.last_error.is_not(None))
    return {name: str(error) for name, error in db.session.execute(query)}


def _run(name: str, task: Task) -> bool:
    error: str | None = None
    try:
        task.run()
    except Exception as failure:
        db.session.rollback()
        log.exception("scheduled_task_failed", task=name)
        error = f"{type(failure).__name__}: {failure}"[:500]
    with unit_of_work():
        send(FINISH, name=name, error=error)
    return True
