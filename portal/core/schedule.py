"""Recurring tasks as rows: whichever worker's conditional UPDATE wins runs the task, however many workers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Interval, cast, literal, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, UtcDateTime, db
from portal.core.stopping import stopping
from portal.core.unit_of_work import unit_of_work

log = structlog.get_logger(__name__)


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


def run_due(tasks: Mapping[str, Task]) -> int:
    """Run every task that is due and could be claimed; returns how many ran. One that fails does not stop the others."""
    return sum(_run(name, task) for name, task in tasks.items() if not stopping() and _claim(name, task.every))


def _claim(name: str, every: timedelta) -> bool:
    """Move the task's next run on, if it is due now: one statement, so only one process sees it succeed.

    A next run further ahead than one interval stems from a clock that was moved back, and counts as due.
    """
    ahead = app_now() + cast(literal(every), Interval)
    with unit_of_work() as session:
        session.execute(insert(ScheduledTask).values(name=name, next_run_at=app_now()).on_conflict_do_nothing())
        claimed = session.execute(
            update(ScheduledTask)
            .where(
                ScheduledTask.name == name,
                (ScheduledTask.next_run_at <= app_now()) | (ScheduledTask.next_run_at > ahead),
            )
            .values(next_run_at=ahead, last_started_at=app_now())
            .returning(ScheduledTask.name)
        ).scalar()
    return claimed is not None


def _run(name: str, task: Task) -> bool:
    error: str | None = None
    try:
        task.run()
    except Exception as failure:
        db.session.rollback()
        log.exception("scheduled_task_failed", task=name)
        error = f"{type(failure).__name__}: {failure}"[:500]
    with unit_of_work() as session:
        session.execute(
            update(ScheduledTask).where(ScheduledTask.name == name).values(last_finished_at=app_now(), last_error=error)
        )
    return True
