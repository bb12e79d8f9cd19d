"""Runs the migrations as the owner of the database, then grants the app role what it needs and no more."""

from __future__ import annotations

import time
from functools import partial

from alembic import context
from flask import current_app
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.engine import make_url

from portal.core.database import db
from portal.core.database_roles import grant_app_role, partitions

settings = current_app.config["SETTINGS"]

# Two hosts that deploy at once take turns; the number only has to be the same everywhere.
LOCK = 7_305_118
LOOK_SECONDS = 0.5


def run() -> None:
    engine = create_engine(settings.database_owner_url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        _take_turns(connection)
        # A migration waits for a lock only briefly: behind a waiting ALTER every other query would queue up.
        connection.execute(text("set lock_timeout = '4s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            compare_type=True,
            transaction_per_migration=True,
            include_object=partial(_ours, connection),
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()  # whatever a command that only compares has left open
        app_role = make_url(settings.database_url).username
        with connection.begin():
            grant_app_role(connection, app_role)
    engine.dispose()


def _take_turns(connection: Connection) -> None:
    """Asked again and again, each time in a transaction that is over at once: an index that is built beside running
    work waits for all open transactions, and one that waited for this lock would never end.
    """
    while not connection.execute(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar():
        connection.commit()
        time.sleep(LOOK_SECONDS)
    connection.commit()


def _ours(
    connection: Connection, _object: object, name: str | None, kind: str, reflected: bool, _other: object
) -> bool:
    """What the models speak of: not the migrations' own table, nor the parts of a table."""
    return not (kind == "table" and reflected and name in {"alembic_version", *partitions(connection)})


run()
