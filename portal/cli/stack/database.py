"""The stack's database: two roles on the embedded server, or a look at the server that was given."""

from __future__ import annotations

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from portal.cli.stack.errors import StackError
from portal.cli.stack.postgres import EmbeddedPostgres

DATABASE = "turnpike"
OWNER = "turnpike_owner"
APP = "turnpike_app"
SERVER_VERSION_MIN = 15_00_00


def make_roles(server: EmbeddedPostgres) -> None:
    """Make the owner, the app role and the database, or put right what stands. The migrations grant the app role its rows."""
    with server.connect() as connection:
        for role in (OWNER, APP):
            known = connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone()
            statement = sql.SQL("alter role {} {}" if known else "create role {} {}")
            rights = sql.SQL("login nosuperuser nocreatedb nocreaterole noreplication nobypassrls")
            connection.execute(statement.format(sql.Identifier(role), rights))
        names = {"database": sql.Identifier(DATABASE), "owner": sql.Identifier(OWNER)}
        if connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("alter database {database} owner to {owner}").format(**names))
        else:
            connection.execute(sql.SQL("create database {database} owner {owner}").format(**names))


def check_given(variable: str, url: str) -> None:
    """Raise `StackError` unless `url`, the value of `variable`, leads to a PostgreSQL we can work with."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise StackError(
            f"{variable} cannot be read. It looks like postgresql://user:password@host:5432/name"
        ) from None
    shown = address.render_as_string(hide_password=True)
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(plain, connect_timeout=5) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        raise StackError(f"{variable} ({shown}) does not lead to a database: {str(error).strip()}") from None
    if version < SERVER_VERSION_MIN:
        raise StackError(f"{variable} leads to PostgreSQL {version // 10000}; it must be 15 or later.")
