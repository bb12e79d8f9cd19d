"""Which worker processes live, as the database sees it: each holds an advisory lock on a connection of its own.

A lease must outlast the slowest work, so a killed worker's would be waited for in vain. Its lock goes with it, since
the kernel closes a dead process's connections: what is leased under a number whose lock nobody holds may be taken
over at once. A process that is only paused keeps its connection, and its leases until they run out. So does one whose
machine was cut off. A lock lost by mistake costs work done twice, never a double effect: leases are fenced by tokens.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any

import structlog
from sqlalchemy import BigInteger, ColumnElement, Connection, cast, column, func, select, table, text
from sqlalchemy.exc import DBAPIError

from portal.core.database import db

log = structlog.get_logger(__name__)

# The family of our locks; it only has to be the same in every process.
FAMILY = 7_305_119
NUMBERS = 2**31 - 1

_LOCKS = table("pg_locks", *map(column, ("locktype", "database", "classid", "objid", "objsubid")))
_DATABASES = table("pg_database", column("oid"), column("datname"))


class _Presence:
    """This process's number and the connection that holds its lock. The guard is for two threads that look at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.connection: Connection | None = None
        self.guard = threading.Lock()


_mine = _Presence()


def announce() -> None:
    """Take this process's lock, or look whether it is still held and take another if not. For the worker's loop.

    Raises `sqlalchemy.exc.DBAPIError` when the database is away; the process has no number then.
    """
    with _mine.guard:
        if _mine.connection is not None and _holds(_mine.connection):
            return
        _drop()
        connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # no longer the pool's, which would lend it to somebody else
        connection.execute(text("set idle_session_timeout = 0"))
        number = 1 + secrets.randbelow(NUMBERS)
        while not connection.execute(select(func.pg_try_advisory_lock(FAMILY, number))).scalar():
            number = 1 + secrets.randbelow(NUMBERS)
        _mine.connection, _mine.number = connection, number


def withdraw() -> None:
    """Give the lock back. Whatever this process still has under a lease may be taken over."""
    with _mine.guard:
        _drop()


def holder() -> int | None:
    """The number under which this process's leases stand; `None` where nobody announced it (they run out by time)."""
    return _mine.number


def is_dead(number: Any) -> ColumnElement[bool]:
    """The SQL condition that a lease's holder is known and no longer lives."""
    here = select(_DATABASES.c.oid).where(_DATABASES.c.datname == func.current_database()).scalar_subquery()
    living = select(cast(_LOCKS.c.objid, BigInteger)).where(
        _LOCKS.c.locktype == "advisory",
        _LOCKS.c.database == here,
        cast(_LOCKS.c.classid, BigInteger) == FAMILY,
        _LOCKS.c.objsubid == 2,  # a lock of two numbers; nobody ever waits for one, so every row is a holder
    )
    dead: ColumnElement[bool] = number.is_not(None) & number.not_in(living)
    return dead


def _holds(connection: Connection) -> bool:
    """A session-level lock lasts as long as its session, so an answer is proof."""
    try:
        connection.execute(text("select 1"))
    except DBAPIError as error:
        log.warning("presence_lost", reason=type(error.orig).__name__)
        return False
    return True


def _drop() -> None:
    connection, _mine.connection, _mine.number = _mine.connection, None, None
    if connection is not None:
        connection.close()
