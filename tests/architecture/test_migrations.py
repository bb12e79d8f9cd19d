"""The migrations make exactly what the models say."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from portal.core.database import db
from portal.core.database_roles import partitions


def test_models_and_migrations_agree(app: Flask) -> None:
    with db.engine.connect() as connection:
        parts = partitions(connection)

        def ours(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
            return not (kind == "table" and name in parts)

        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": ours})
        assert compare_metadata(context, db.metadata) == []
