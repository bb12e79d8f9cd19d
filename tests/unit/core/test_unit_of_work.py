"""The only committer: all or nothing, never nested, and what follows a commit follows only a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from portal.core.alarms import Alarm, raise_alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import (
    UnitOfWorkError,
    after_commit,
    end_read,
    in_transaction,
    run_in_unit,
    unit_of_work,
)

pytestmark = pytest.mark.usefixtures("app")


def alarms() -> int:
    """How many alarms others can see."""
    with db.engine.connect() as other:
        return other.execute(select(func.count()).select_from(Alarm)).scalar_one()


def do_in_unit(*steps: Callable[[], object]) -> None:
    with unit_of_work():
        for step in steps:
            step()


def test_a_unit_commits_everything_or_nothing() -> None:
    with unit_of_work():
        raise_alarm("test", "1")
        raise_alarm("test", "2")
        assert alarms() == 0
    assert alarms() == 2
    with pytest.raises(ZeroDivisionError):
        do_in_unit(lambda: raise_alarm("test", "3"), lambda: 1 // 0)
    assert alarms() == 2
    assert not in_transaction()


def test_it_joins_the_transaction_that_reading_has_begun() -> None:
    db.session.execute(select(Alarm.id)).all()
    assert in_transaction()
    with unit_of_work():
        raise_alarm("test", "1")
    assert not in_transaction()
    assert alarms() == 1


def test_a_unit_in_a_unit_is_refused_and_takes_the_outer_one_along() -> None:
    with pytest.raises(UnitOfWorkError, match="already open"):
        do_in_unit(lambda: raise_alarm("test", "1"), lambda: do_in_unit(lambda: raise_alarm("test", "2")))
    assert alarms() == 0
    with unit_of_work():
        raise_alarm("test", "3")
    assert alarms() == 1


def test_hooks_run_once_and_only_after_a_commit() -> None:
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, alarms()))

    with pytest.raises(ZeroDivisionError):
        do_in_unit(lambda: after_commit(note, "rolled back"), lambda: 1 // 0)
    with unit_of_work():
        raise_alarm("test", "1")
        after_commit(note, "kept")
        assert seen == []
    with unit_of_work():
        raise_alarm("test", "2")
    assert seen == [("kept", 1)], "it sees what was committed, and neither runs again nor for what was rolled back"


def test_hooks_of_a_commit_that_fails_do_not_run() -> None:
    seen: list[str] = []
    with unit_of_work():
        raise_alarm("test", "1")
    again = Alarm(id=new_id("alarm"), kind="test", subject="1", detail={}, raised_at=func.now())
    with pytest.raises(IntegrityError):
        do_in_unit(lambda: after_commit(seen.append, "never"), lambda: db.session.add(again))
    with unit_of_work():
        raise_alarm("test", "2")
    assert seen == []


def test_an_error_in_a_hook_changes_nothing_and_the_next_hook_runs() -> None:
    seen: list[str] = []

    def broken() -> None:
        raise RuntimeError("the queue is gone")

    with unit_of_work():
        raise_alarm("test", "1")
        after_commit(broken)
        after_commit(seen.append, "next")
    assert alarms() == 1
    assert seen == ["next"]


def test_a_hook_error_does_not_fail_the_request(app: Flask) -> None:
    def broken() -> None:
        raise RuntimeError("the queue is gone")

    def save() -> str:
        with unit_of_work():
            raise_alarm("test", "request")
            after_commit(broken)
        return "saved"

    with app.test_request_context("/"):
        assert save() == "saved"
    assert alarms() == 1


def test_a_read_is_ended_and_a_write_is_not() -> None:
    db.session.execute(select(Alarm.id)).all()
    end_read()
    assert not in_transaction()
    end_read()

    db.session.add(Alarm(id=new_id("alarm"), kind="test", subject="1", detail={}, raised_at=func.now()))
    with pytest.raises(UnitOfWorkError, match="changes are waiting"):
        end_read()
    db.session.flush()
    with pytest.raises(UnitOfWorkError, match="changes are waiting"):
        end_read()  # sent, and so no longer to be seen in the session
    db.session.rollback()

    raise_alarm("test", "2")
    with pytest.raises(UnitOfWorkError, match="changes are waiting"):
        end_read()
    db.session.rollback()
    with pytest.raises(UnitOfWorkError), unit_of_work():
        end_read()
    assert alarms() == 0


def test_the_victim_of_a_deadlock_does_its_work_again(app: Flask) -> None:
    """Two units that take the same two rows in opposite order: PostgreSQL ends one of them, and both get done."""
    with unit_of_work():
        raise_alarm("test", "a")
        raise_alarm("test", "b")
    both_hold_one, one_is_done = threading.Barrier(2, timeout=60), threading.Event()
    tries: list[str] = []

    def touch_both(first: str, second: str) -> None:
        tries.append(first)
        again = tries.count(first) > 1
        if again:  # else it could be quicker than the other's waking up, and both would stand there again
            one_is_done.wait(60)
        # Else the limit on waiting for a lock could come before the deadlock is found.
        db.session.execute(text("set local lock_timeout = '30s'"))
        _touch(first)
        if not again:
            both_hold_one.wait()
        _touch(second)

    def take(first: str, second: str) -> None:
        with app.app_context():
            run_in_unit(lambda: touch_both(first, second))
            one_is_done.set()

    threads = [threading.Thread(target=take, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(tries) == 3
    counts = db.session.execute(select(Alarm.detail["n"].as_integer())).scalars().all()
    assert counts == [2, 2]


def _touch(subject: str) -> None:
    counted = "jsonb_build_object('n', coalesce((detail->>'n')::int, 0) + 1)"
    statement = update(Alarm).where(Alarm.subject == subject).values(detail=text(counted))
    db.session.execute(statement.execution_options(synchronize_session=False))


def test_what_is_no_deadlock_is_not_tried_again() -> None:
    tries: list[Any] = []

    def cut_off() -> None:
        tries.append(None)
        db.session.execute(text("set local statement_timeout = '1ms'"))
        db.session.execute(text("select pg_sleep(10)"))

    with pytest.raises(OperationalError):
        run_in_unit(cut_off)
    assert len(tries) == 1
