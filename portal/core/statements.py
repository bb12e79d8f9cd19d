"""Statements of hot paths: prepared once a connection, and sent by libpq's blocking call.

The library above composes, looks up and describes, and the driver waits in steps that can be interrupted: together they
take longer than the statement itself. Here a statement is one call into libpq, during which other threads run.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

# What a statement finds: a tuple with a name for each column, which no type checker knows.
Row: TypeAlias = Any

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


@dataclass(frozen=True, eq=False)
class Statement:
    """SQL with parameters such as `:team_id`. One is made when its module is loaded, and no two are equal."""

    sql: str

    @cached_property
    def names(self) -> list[str]:
        """Every parameter once, in the order in which libpq numbers them."""
        return list(dict.fromkeys(_PARAMETER.findall(self.sql)))

    @cached_property
    def formats(self) -> list[PyFormat]:
        return [PyFormat.AUTO] * len(self.names)

    @cached_property
    def numbered(self) -> bytes:
        numbers = {name: f"${number}" for number, name in enumerate(self.names, 1)}
        return _PARAMETER.sub(lambda found: numbers[found[1]], self.sql).encode()


@dataclass
class _Prepared:
    """`make_row` is known with the first answer: to ask for the columns alone would stop all other threads meanwhile."""

    name: bytes
    make_row: Callable[..., Row] | None = None


# The types are part of the key: PostgreSQL settles on those that a statement was prepared with.
_Key: TypeAlias = tuple[Statement, tuple[int, ...] | None]
_prepared: WeakKeyDictionary[psycopg.Connection, dict[_Key, _Prepared]] = WeakKeyDictionary()
_numbers = count(1)


def run(connection: psycopg.Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[Row]:
    """Send the statement, which begins a transaction unless one is open or each statement is its own.

    Raises the driver's errors; `KeyError` when a parameter is missing.
    """
    server = connection.pgconn
    if server.transaction_status == TransactionStatus.IDLE and not connection.autocommit:
        _checked(server, server.exec_(b"begin"))
    transformer = Transformer(connection)
    values = transformer.dump_sequence([parameters[name] for name in statement.names], statement.formats)
    prepared = _find(connection, statement, transformer.types)
    result = _checked(server, server.exec_prepared(prepared.name, cast("Any", values), transformer.formats))
    if not result.ntuples:
        return []
    prepared.make_row = prepared.make_row or _row_maker(result)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, prepared.make_row)


def _row_maker(result: PGresult) -> Callable[..., Row]:
    names = [(result.fname(index) or b"").decode() for index in range(result.nfields)]
    return cast("Callable[..., Row]", cast("Any", namedtuple("Row", names, rename=True))._make)


def _find(connection: psycopg.Connection, statement: Statement, types: tuple[int, ...] | None) -> _Prepared:
    ours = _prepared.setdefault(connection, {})
    found = ours.get((statement, types))
    if found is None:
        found = ours[statement, types] = _prepare(connection, statement, types)
    return found


def _prepare(connection: psycopg.Connection, statement: Statement, types: tuple[int, ...] | None) -> _Prepared:
    server = connection.pgconn
    name = f"hot_{next(_numbers)}".encode()
    _checked(server, server.prepare(name, statement.numbered, types))
    return _Prepared(name)


def _checked(server: PGconn, result: PGresult) -> PGresult:
    """What a server refuses has a code. What has none is libpq's own word that the connection broke, which its status may
    not say yet.
    """
    if result.status in _DONE:
        return result
    if server.status == ConnStatus.BAD or not result.error_field(DiagnosticField.SQLSTATE):
        raise psycopg.OperationalError(server.get_error_message())
    raise error_from_result(cast("Any", result))
