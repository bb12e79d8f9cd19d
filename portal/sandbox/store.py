"""The state of the sandbox: one SQLite file (or memory) behind one lock.

Every object lives in one generic table as the JSON it has on the wire, with references as ids. A member whose name
begins with an underscore is the sandbox's own and never leaves it. Lists filter on JSON paths, which have indexes.
"""

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    created INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS objects_by_type ON objects (type, seq);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY, request_hash TEXT NOT NULL, request_id TEXT NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL,
    UNIQUE (event_id, endpoint_id));
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, next_at);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
    at REAL NOT NULL, status INTEGER, body TEXT NOT NULL, duration_ms INTEGER NOT NULL, error TEXT);
CREATE INDEX IF NOT EXISTS attempts_by_delivery ON attempts (delivery_id);
CREATE TABLE IF NOT EXISTS chaos_rules (
    number INTEGER PRIMARY KEY, place TEXT NOT NULL, body TEXT NOT NULL,
    met INTEGER NOT NULL DEFAULT 0, struck INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS chaos_strikes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, place TEXT NOT NULL,
    fault TEXT NOT NULL, subject TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS disturbances (
    delivery_id INTEGER NOT NULL, fault TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (delivery_id, fault));
CREATE TABLE IF NOT EXISTS set_aside (
    object_id TEXT NOT NULL, task TEXT NOT NULL, at INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY (object_id, task));
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_INDEXED_PATHS = (
    "automatically_finalizes_at",
    "cancel_at",
    "current_period_end",
    "current_phase.end_date",
    "customer",
    "data.object.customer",
    "data.object.id",
    "identifier",
    "invoice",
    "latest_charge",
    "lookup_key",
    "next_payment_attempt",
    "parent.subscription_details.subscription",
    "pause_collection.resumes_at",
    "pending_update.expires_at",
    "payment.payment_intent",
    "payment_intent",
    "price",
    "product",
    "status",
    "subscription",
    "type",
    "_awaits",
    "_customer",
    "_resumes_at",
    "_session",
    "_thin_id",
    "_token",
    "_usage_of",
)


def path_sql(path: str) -> str:
    """Return the SQL for a JSON path; paths are our own constants, and the check keeps it so."""
    if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", path):
        raise ValueError(f"not a path: {path!r}")
    return f"json_extract(body, '$.{path}')"


@dataclass(frozen=True)
class Condition:
    """One WHERE term over the objects table, with its values."""

    sql: str
    values: tuple[Any, ...] = ()


def equals(path: str, value: Any) -> Condition:
    """The member at `path` has this value; True and False compare as JSON's own."""
    return Condition(f"{path_sql(path)} IS ?", (int(value) if isinstance(value, bool) else value,))


def one_of(path: str, values: Iterable[Any]) -> Condition:
    """The member at `path` has one of these values."""
    chosen = tuple(values)
    return Condition(f"{path_sql(path)} IN ({', '.join('?' * len(chosen))})", chosen)


class StateUnusableError(Exception):
    """The state file cannot be used; the message is one clear line."""


class Store:
    """Objects, and a connection shared under one lock by everything that keeps state."""

    def __init__(self, path: str) -> None:
        self.lock = threading.RLock()
        # Grows with every statement that may have changed something: what was read at the same number still holds.
        self.version = 0
        self.on_commit: Callable[[], None] = lambda: None
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
            self._prepare()
        except sqlite3.DatabaseError as error:
            taken = "locked" in str(error)
            reason = "is in use by another process" if taken else f"cannot be used: {error}"
            raise StateUnusableError(f"the state file {path} {reason}.") from error

    def _prepare(self) -> None:
        self.connection.row_factory = sqlite3.Row
        # One process owns the file: two would deliver each event twice.
        self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.executescript(_SCHEMA)
        for path in _INDEXED_PATHS:
            name = "objects_by_" + path.replace(".", "_")
            self.connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON objects (type, {path_sql(path)})")

    def close(self) -> None:
        """Close the file; the store is of no use afterwards."""
        with self.lock:
            self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all or nothing; a transaction inside a transaction is part of the outer one."""
        with self.lock:
            if self.connection.in_transaction:
                yield
                return
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                self.version += 1
                raise
            self.connection.execute("COMMIT")
        self.on_commit()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Take back what is written inside when it fails, and nothing else of the transaction around it."""
        self.connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO part")
            self.connection.execute("RELEASE part")
            self.version += 1
            raise
        self.connection.execute("RELEASE part")

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Let what is written inside be seen inside, and take all of it back at the end."""
        with self.transaction():
            self.connection.execute("SAVEPOINT rehearsal")
            try:
                yield
            finally:
                self.connection.execute("ROLLBACK TO rehearsal")
                self.connection.execute("RELEASE rehearsal")
                self.version += 1

    def query(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Run one statement and return its rows."""
        with self.lock:
            return self.connection.execute(sql, values).fetchall()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement and return the number of rows it touched."""
        with self.lock:
            self.version += 1
            return self.connection.execute(sql, values).rowcount

    def insert(self, type_name: str, obj: Object) -> Object:
        """Add a new object and return it."""
        self.execute(
            "INSERT INTO objects (id, type, created, body) VALUES (?, ?, ?, ?)",
            (obj["id"], type_name, obj.get("created", obj.get("date", 0)), json.dumps(obj)),
        )
        return obj

    def save(self, obj: Object) -> Object:
        """Write an object back whole and return it."""
        if self.execute("UPDATE objects SET body = ? WHERE id = ?", (json.dumps(obj), obj["id"])) != 1:
            raise LookupError(obj["id"])
        return obj

    def delete(self, object_id: str) -> None:
        """Remove an object for good."""
        self.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def get(self, type_name: str, object_id: str) -> Object | None:
        """Return one object, or None when no object of this type has the id."""
        rows = self.query("SELECT body FROM objects WHERE id = ? AND type = ?", (object_id, type_name))
        return json.loads(rows[0]["body"]) if rows else None

    def find(
        self,
        type_name: str,
        conditions: Iterable[Condition] = (),
        *,
        limit: int | None = None,
        oldest_first: bool = False,
    ) -> list[Object]:
        """Return the objects of a type that meet every condition, newest first unless asked otherwise."""
        terms = [Condition("type = ?", (type_name,)), *conditions]
        where = " AND ".join(term.sql for term in terms)
        order = "ASC" if oldest_first else "DESC"
        values: list[Any] = [value for term in terms for value in term.values]
        # Conditions are built from our own constants; every value is bound.
        sql = f"SELECT body FROM objects WHERE {where} ORDER BY seq {order}"  # noqa: S608  all of it is ours
        if limit is not None:
            sql += " LIMIT ?"
            values.append(limit)
        return [json.loads(row["body"]) for row in self.query(sql, values)]

    def is_taken(self, object_id: str) -> bool:
        """Say whether an object of any type has this id."""
        return bool(self.query("SELECT 1 FROM objects WHERE id = ?", (object_id,)))

    def position(self, type_name: str, object_id: str) -> int | None:
        """Return where an object stands in the order of creation, or None when there is none."""
        rows = self.query("SELECT seq FROM objects WHERE id = ? AND type = ?", (object_id, type_name))
        return rows[0]["seq"] if rows else None

    def read_state(self, name: str, default: str) -> str:
        """Return one named value of the sandbox itself."""
        rows = self.query("SELECT value FROM state WHERE name = ?", (name,))
        return rows[0]["value"] if rows else default

    def write_state(self, name: str, value: str) -> None:
        """Set one named value of the sandbox itself."""
        self.execute(
            "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )
