"""Units of one plain statement, and the look at a connection before it is lent."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from portal.core import unit_of_work as units
from portal.core.database import db
from portal.core.statements import Statement
from portal.core.unit_of_work import UnitOfWorkError, after_commit, in_transaction, statement_unit, unit_of_work
from tests import services
from tests.services import Plan
from tests.worker_process import until

INSERT = Statement("insert into clock_offset (one_row, ahead_by) values (true, '1 hour') returning ahead_by")


def rows() -> int:
    found = db.session.execute(text("select count(*) from clock_offset")).scalar_one()
    db.session.rollback()
    return int(found)


def test_a_statement_has_committed_when_it_returns(app: Flask) -> None:
    with statement_unit() as run:
        assert len(run(INSERT, {})) == 1
        assert rows() == 1


def test_what_is_to_follow_the_commit_follows_the_unit(app: Flask) -> None:
    done: list[int] = []
    with statement_unit() as run:
        run(INSERT, {})
        after_commit(done.append, 1)
        assert done == []
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        fail_after(done)
    with unit_of_work():
        pass
    assert done == [1], "what was to follow the unit that failed followed another one"


def fail_after(done: list[int]) -> None:
    with statement_unit():
        after_commit(done.append, 2)
        done.append(1 // 0)


def test_units_do_not_nest_and_no_network_is_called_in_one(app: Flask) -> None:
    with statement_unit():
        assert in_transaction()
        with pytest.raises(UnitOfWorkError), unit_of_work():
            pass
        with pytest.raises(UnitOfWorkError), statement_unit():
            pass
    with unit_of_work(), pytest.raises(UnitOfWorkError), statement_unit():
        pass
    assert not units.in_unit()


def test_a_connection_goes_back_as_it_was(app: Flask) -> None:
    """With transactions on: whoever has it next must be able to roll back."""
    with statement_unit() as run:
        run(Statement("select 1 as one"), {})
    db.session.execute(text("insert into clock_offset (one_row, ahead_by) values (true, '1 hour')"))
    db.session.rollback()
    assert rows() == 0


def cut_all(plan: Plan) -> None:
    """End every session of this test's database, and wait until they have."""
    ours = "from pg_stat_activity where datname = %s"
    with services.connect(plan.admin) as connection:
        connection.execute(f"select count(pg_terminate_backend(pid)) {ours}", [db.engine.url.database])

        def gone() -> bool:
            return connection.execute(f"select 1 {ours}", [db.engine.url.database]).fetchone() is None

        until(gone, "the sessions have ended")


def test_a_connection_that_was_cut_is_not_lent(app: Flask, test_plan: Plan) -> None:
    """As all of them are after a restart of PostgreSQL."""
    rows()
    db.session.remove()
    cut_all(test_plan)
    with statement_unit() as run:
        run(INSERT, {})
    assert rows() == 1


def test_a_connection_that_is_cut_in_the_unit_is_an_error_as_of_any_unit(app: Flask, test_plan: Plan) -> None:
    with pytest.raises(OperationalError):
        cut_within(test_plan)
    assert rows() == 0


def cut_within(plan: Plan) -> None:
    with statement_unit() as run:
        cut_all(plan)
        run(INSERT, {})
