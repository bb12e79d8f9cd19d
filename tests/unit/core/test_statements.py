"""Prepared statements of hot paths, on the session's connection and beside whatever else is done there."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import cast

import psycopg
import pytest
from flask import Flask
from psycopg.pq import ExecStatus
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, IntegrityError

from portal.core import statements
from portal.core.database import db, send
from portal.core.statements import Statement
from tests import services
from tests.worker_process import until

ECHO = Statement("select :value as value")
INSERT = Statement("insert into clock_offset (one_row, ahead_by) values (true, '1 hour')")


def test_parameters_are_taken_and_casts_and_percents_left_alone(app: Flask) -> None:
    statement = Statement("select :number::int as number, :name as name, 'a%' as percent, :name || :name as twice")
    assert tuple(send(statement, number=7, name="x")[0]) == (7, "x", "a%", "xx")


@pytest.mark.parametrize(
    "value", ["x", "", None, 1, 2**40, -(2**62), True, b"\x00\xff", datetime(2026, 2, 28, 12, tzinfo=UTC)]
)
def test_a_value_of_any_type_comes_back_as_it_was(app: Flask, value: object) -> None:
    for _ in range(2):
        assert send(ECHO, value=value)[0].value == value


def test_a_statement_that_returns_nothing_finds_no_rows(app: Flask) -> None:
    assert send(INSERT) == []
    db.session.rollback()


def test_columns_without_a_name_are_numbered(app: Flask) -> None:
    assert send(Statement("select 1, 2"))[0] == (1, 2)


def test_what_is_prepared_outlives_rollbacks_savepoints_and_errors(app: Flask) -> None:
    """The driver would drop everything prepared on the connection when it rolls back."""
    for _ in range(8):
        db.session.execute(text("select 1"))
        assert send(ECHO, value="x")[0].value == "x"
        db.session.rollback()
        send(INSERT)
        with pytest.raises(IntegrityError), db.session.begin_nested():
            send(INSERT)
        assert send(ECHO, value="x")[0].value == "x"
        with pytest.raises(DataError):
            send(Statement("select 1 / :number::int"), number=0)
        db.session.rollback()


def test_a_statement_is_part_of_the_sessions_transaction(app: Flask) -> None:
    send(INSERT)
    db.session.rollback()
    assert db.session.execute(text("select count(*) from clock_offset")).scalar_one() == 0
    send(INSERT)
    db.session.commit()
    assert db.session.execute(text("select count(*) from clock_offset")).scalar_one() == 1


def test_an_error_does_not_show_what_the_statement_was_given(app: Flask) -> None:
    with pytest.raises(DataError) as refused:
        send(Statement("select :value::int as number"), value="a-secret")
    db.session.rollback()
    assert "a-secret" not in str(refused.value.statement) + str(refused.value.params)


def test_other_threads_run_while_a_statement_waits(
    app: Flask, test_plan: services.Plan, database_urls: services.DatabaseUrls
) -> None:
    """Were the interpreter held meanwhile, nobody could let go of the lock, and the wait would end as an error."""
    name = db.engine.url.database
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
    with services.connect(database_urls.owner) as other, services.connect(test_plan.admin) as watch:

        def let_go() -> None:
            with app.app_context():
                until(lambda: watch.execute(waiting, [name]).fetchone() is not None, "somebody waits")
            other.execute("commit")

        other.execute("begin")
        other.execute("lock table clock_offset in access exclusive mode")
        thread = threading.Thread(target=let_go)
        thread.start()
        assert send(Statement("select count(*) as rows from clock_offset"))[0].rows == 0  # prepared and run now
        thread.join()


def test_an_error_without_a_code_is_a_connection_that_broke(app: Flask) -> None:
    """Whoever waits for an answer as the server dies hears so from libpq, whose connection may still say that it is well."""
    server = cast("psycopg.Connection", db.session.connection().connection.driver_connection).pgconn
    with pytest.raises(psycopg.OperationalError):
        statements._checked(server, server.make_empty_result(ExecStatus.FATAL_ERROR))
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements._checked(server, server.exec_(b"select 1 / 0"))
    db.session.rollback()


def test_each_thread_of_the_web_server_keeps_its_connections(app: Flask) -> None:
    """To open one in the rush, and to prepare everything on it anew, costs more than the request it is for."""
    threads = app.config["SETTINGS"].web_threads
    for engine in db.engines.values():
        hold_and_return(engine, threads)
        assert engine.pool.checkedin() == threads  # type: ignore[attr-defined]  # the base class of pools has no such word


def hold_and_return(engine: Engine, count: int) -> None:
    for connection in [engine.connect() for _ in range(count)]:
        connection.close()
