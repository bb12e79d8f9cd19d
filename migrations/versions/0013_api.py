"""Keys of the API that end by themselves, and the answers of its calls by idempotency key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at", MOMENT, nullable=True))
    op.create_table(
        "idempotency_keys",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("key", PREFIXED_ID, nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.String(), nullable=True),
        sa.Column("lease_token", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("length(key) between 1 and 255", name=op.f("ck_idempotency_keys_key")),
        sa.CheckConstraint("length(request_hash) = 64", name=op.f("ck_idempotency_keys_request_hash")),
        sa.CheckConstraint(
            "case state when 'in_flight' then status is null and body is null and lease_token is not null"
            " and lease_until is not null when 'done' then status between 200 and 299 and body is not null"
            " and lease_token is null and lease_until is null else false end",
            name=op.f("ck_idempotency_keys_state"),
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_idempotency_keys_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("team_id", "key", name=op.f("uq_idempotency_keys_team_id_key")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_column("api_keys", "expires_at")
