"""The one place that commits.

An edge (route, job, command) opens `unit_of_work()`; domain code only adds to the session. Whatever must happen
because something was saved (a hint to the worker) is registered with `after_commit` and runs only if the commit did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import psycopg
import structlog
from flask import g
from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from portal.core import statements
from portal.core.database import STATEMENTS, db, translated
from portal.core.statements import Row, Statement

log = structlog.get_logger(__name__)

T = TypeVar("T")
Hook = tuple[Callable[..., Any], tuple[Any, ...]]
Run = Callable[[Statement, Mapping[str, Any]], list[Row]]

_OPEN = "unit_of_work"
_HOOKS = "after_commit"


class UnitOfWorkError(RuntimeError):
    """A unit was nested, or a read was to be ended while changes were waiting: a mistake in the calling code."""


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """Commit everything done inside, or nothing. Joins a transaction that loading the user has begun.

    Raises `UnitOfWorkError` when one is open already: only edges open units, and edges do not call each other.
    """
    if in_unit():
        raise UnitOfWorkError("a unit of work is already open")
    session = db.session()
    session.info[_OPEN] = True
    try:
        yield session
        commit()
    except BaseException:
        session.info.pop(_HOOKS, None)
        session.rollback()
        raise
    finally:
        session.info.pop(_OPEN, None)


@contextmanager
def statement_unit() -> Iterator[Run]:
    """A unit that is one writing statement, without the session, which costs several times as much as the statement.

    What it yields sends a statement with its parameters and returns the rows; the statement has committed by
    then. Raises as `unit_of_work` does, SQLAlchemy's `OperationalError` too.
    """
    if in_unit():
        raise UnitOfWorkError("a unit of work is already open")
    hooks: list[Hook] = []
    g.statement_hooks = hooks
    try:
        with _autocommitting() as connection:
            yield partial(statements.run, connection)
    finally:
        g.pop("statement_hooks")
    _run_hooks(hooks)


def read_alone(statement: Statement, **parameters: Any) -> list[Row]:
    """Send one statement that only reads, beside whatever this thread has open: one round trip, and nothing stays open.

    Raises as the session does.
    """
    with _autocommitting() as connection:
        return statements.run(connection, statement, parameters)


@contextmanager
def _autocommitting() -> Iterator[psycopg.Connection]:
    """A connection on which each statement is a transaction. One that broke does not go back to its pool."""
    try:
        with closing(db.engines[STATEMENTS].raw_connection()) as lent:
            connection = cast("psycopg.Connection", lent.driver_connection)
            try:
                yield connection
            finally:
                if connection.closed:
                    lent.invalidate()
    except psycopg.Error as error:
        raise translated(error) from error


def in_unit() -> bool:
    """Whether this thread has a unit open."""
    return "statement_hooks" in g or bool(db.session.registry.has() and db.session().info.get(_OPEN))


def run_in_unit(work: Callable[[], T], attempts: int = 3) -> T:
    """Run `work` in a unit, again when PostgreSQL chose it as a deadlock's victim (it had no effect then)."""
    for attempt in range(1, attempts + 1):
        try:
            with unit_of_work():
                return work()
        except OperationalError as error:
            if attempt == attempts or not isinstance(error.orig, DeadlockDetected | SerializationFailure):
                raise
    raise AssertionError("unreachable")


def commit() -> None:
    """Commit the session and run its after-commit calls. For `unit_of_work` and the accounts library's own hook."""
    session = db.session()
    session.commit()
    _run_hooks(session.info.pop(_HOOKS, []))


def _run_hooks(hooks: list[Hook]) -> None:
    for call, args in hooks:
        try:
            call(*args)
        except Exception:
            # The work is saved; whatever was hinted at is also found by polling.
            log.exception("after_commit_failed", call=getattr(call, "__qualname__", repr(call)))


def after_commit(call: Callable[..., Any], *args: Any) -> None:
    """Call `call(*args)` once the current transaction is committed; never if it is rolled back."""
    hooks = g.get("statement_hooks")
    if hooks is None:
        hooks = db.session().info.setdefault(_HOOKS, [])
    hooks.append((call, args))


def in_transaction() -> bool:
    """Whether this thread holds a database transaction open (a network call must not start then)."""
    return "statement_hooks" in g or (db.session.registry.has() and db.session().in_transaction())


def end_read() -> None:
    """End a transaction that has only read, so that a network call may follow.

    Raises `UnitOfWorkError` inside a unit or when changes are waiting, in the session or already sent.
    """
    session = db.session()
    if session.info.get(_OPEN) or session.new or session.dirty or session.deleted or _has_written(session):
        raise UnitOfWorkError("cannot end the transaction: changes are waiting in it")
    session.commit()


def _has_written(session: Session) -> bool:
    """PostgreSQL gives a transaction a number only when it changes (or locks) a row."""
    if not session.in_transaction():
        return False
    return session.execute(select(func.pg_current_xact_id_if_assigned().is_not(None))).scalar_one()
