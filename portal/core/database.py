"""The database handle, the typed model base and the column types that every feature's models use."""

from __future__ import annotations

import select
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import psycopg
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Engine, MetaData, String, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from portal.core import statements
from portal.core.statements import Row, Statement


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Objects stay readable after a commit: a page goes on with what it has just saved without a new transaction.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:

    class Model(Base):
        __abstract__ = True
else:
    Model = db.Model

# A connection that was used this lately is believed to reach its server unless it says otherwise.
IDLE_SECONDS_MAX = 30.0

# Byte order, so that PostgreSQL and Python sort identifiers alike whatever the locale of the server.
PrefixedId = String(collation="C")
PrimaryId = Annotated[str, mapped_column(PrefixedId, primary_key=True)]
UtcDateTime = Annotated[datetime, mapped_column(DateTime(timezone=True))]


# The pool whose connections commit each statement by themselves.
STATEMENTS = "statements"


def engine_options(threads: int) -> dict[str, Any]:
    """Limits on every connection, so that a stuck lock or query ends as an error instead of a pile-up.

    One for each thread of the process stays open: to open another in the rush, prepare its statements and close it again
    costs more than a dozen requests. The one that was used last is lent first.
    """
    options = (
        "-c timezone=UTC -c lock_timeout=2s -c statement_timeout=10s -c idle_in_transaction_session_timeout=15s "
        "-c application_name=turnpike"
    )
    return {
        # Errors go to the log, and what a statement was given may be an address, a digest or a link.
        "hide_parameters": True,
        "pool_size": threads,
        "max_overflow": 4,
        "pool_timeout": 5,
        "pool_use_lifo": True,
        # By itself the driver prepares what it has seen five times, and at each rollback forgets everything that is
        # prepared on the connection: `core.statements` does that for the hot statements, and they stay.
        "connect_args": {"options": options, "connect_timeout": 5, "prepare_threshold": None},
    }


def statement_engine_options(threads: int) -> dict[str, Any]:
    """For the pool `STATEMENTS`: nothing is open on a connection that comes back, so there is nothing to roll back."""
    return {**engine_options(threads), "isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}


def send(statement: Statement, **parameters: Any) -> list[Row]:
    """Send a statement in the session's transaction; returns its rows, tuples with a name for each column.

    Raises the library's `DBAPIError`s as any other statement does.
    """
    connection = db.session.connection()
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        return statements.run(driver, statement, parameters)
    except psycopg.Error as error:
        if driver.closed:
            connection.invalidate(error)
        raise translated(error, statement.sql) from error


def translated(error: psycopg.Error, statement: str | None = None) -> BaseException:
    """The library's error for one of the driver's, without what the statement was given."""
    return DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True, dialect=db.engine.dialect)


def refuse_dead_connections(engine: Engine) -> None:
    """Look at each connection before it is lent, so that a restart of PostgreSQL costs no request an error.

    A server that ends a session says so, or its end of the socket closes: then there is something to read on a
    connection that waits for no answer. To see that costs no round trip, unlike the library's own look. One that has
    lain idle for long is asked in earnest, since a firewall may have forgotten it without a word.
    """

    @event.listens_for(engine, "checkin")
    def lay_down(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is None or (time.monotonic() - idle_since < IDLE_SECONDS_MAX and not _readable(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error


def _readable(connection: Any) -> bool:
    """Whether there is something to read, or the connection is closed already."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
