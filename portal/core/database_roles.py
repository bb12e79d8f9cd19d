"""What the app role may do: read and write rows, no DDL, and only INSERT on tables that tell history."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from portal.features import modules

quote = PGDialect().identifier_preparer.quote


def append_only_tables() -> list[str]:
    """Every feature names its own in `APPEND_ONLY` of its models."""
    return [table for module in modules("models") for table in getattr(module, "APPEND_ONLY", ())]


def owner_functions() -> list[str]:
    """What the owner does for the app role, by functions that run as the owner: `OWNER_FUNCTIONS` of a feature's models."""
    return [function for module in modules("models") for function in getattr(module, "OWNER_FUNCTIONS", ())]


def partitions(connection: Connection) -> set[str]:
    """The tables that are parts of another. They are made and dropped while the application runs; no model names them."""
    query = (
        "select relname from pg_class where relispartition and relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    return set(connection.execute(text(query)).scalars())


def grant_app_role(connection: Connection, role: str | None) -> None:
    """Give the app role its rights on what the migrations made. A no-op when owner and app are one role."""
    owner = connection.execute(text("select current_user")).scalar_one()
    if role is None or role == owner:
        return
    name = quote(role)
    connection.execute(text(f"grant usage on schema public to {name}"))
    connection.execute(text(f"grant select, insert, update, delete on all tables in schema public to {name}"))
    connection.execute(text(f"grant usage, select on all sequences in schema public to {name}"))
    # An older migration may be the last that was asked for: not all of the tables and functions need to be there.
    standing = set(inspect(connection).get_table_names())
    for table in append_only_tables():
        if table not in standing:
            continue
        connection.execute(text(f"revoke update, delete, truncate on {quote(table)} from {name}"))
    for part in sorted(partitions(connection)):
        # It is reached through the whole, whose rights and guards are the ones that count.
        connection.execute(text(f"revoke all on {quote(part)} from {name}"))
    for function in owner_functions():
        if connection.execute(text("select to_regprocedure(:function)"), {"function": function}).scalar():
            connection.execute(text(f"grant execute on function {function} to {name}"))
    connection.execute(text(f"revoke insert, update, delete on alembic_version from {name}"))
