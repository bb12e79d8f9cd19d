"""Metering: usage keys and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)

APPEND_ONLY = ("usage_keys", "usage_events")


def upgrade() -> None:
    _keys()
    _events()
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger {table}_append_only before update or delete on {table}"
            " for each row execute function refuse_change()"
        )
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table}"
            " for each statement execute function refuse_change()"
        )


def _keys() -> None:
    op.create_table(
        "usage_keys",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("key", PREFIXED_ID, nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("length(key) between 1 and 255", name=op.f("ck_usage_keys_key")),
        sa.CheckConstraint("length(request_hash) = 64", name=op.f("ck_usage_keys_request_hash")),
        sa.CheckConstraint("status between 200 and 299", name=op.f("ck_usage_keys_status")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_usage_keys_team_id")),
        sa.PrimaryKeyConstraint("team_id", "key", name=op.f("pk_usage_keys")),
    )


def _events() -> None:
    op.create_table(
        "usage_events",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("key", PREFIXED_ID, nullable=False),
        sa.Column("api_key_id", PREFIXED_ID, nullable=True),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_usage_events_quantity")),
        sa.CheckConstraint("cost > 0", name=op.f("ck_usage_events_cost")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_usage_events_team_id")),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_usage_events_api_key_id")),
        sa.ForeignKeyConstraint(
            ["team_id", "key"], ["usage_keys.team_id", "usage_keys.key"], name=op.f("fk_usage_events_team_id_key")
        ),
        sa.ForeignKeyConstraint(
            ["team_id", "entry_id"],
            ["credit_entries.team_id", "credit_entries.id"],
            name=op.f("fk_usage_events_team_id_entry_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_events")),
    )
    op.create_index("uq_usage_events_team_id_key", "usage_events", ["team_id", "key"], unique=True)
    op.create_index("uq_usage_events_team_id_entry_id", "usage_events", ["team_id", "entry_id"], unique=True)
    op.create_index("ix_usage_events_team_id_occurred_at", "usage_events", ["team_id", "occurred_at"])


def downgrade() -> None:
    op.drop_table("usage_events")
    op.drop_table("usage_keys")
