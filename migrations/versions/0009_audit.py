"""The audit trail: append-only, whoever writes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

PREFIXED_ID = sa.String(collation="C")


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=True),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor_id", PREFIXED_ID, nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=True),
        sa.Column("detail", JSONB(), nullable=False),
        sa.Column("ip", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.CheckConstraint("actor_kind in ('user', 'key', 'system')", name=op.f("ck_audit_entries_actor_kind")),
        sa.CheckConstraint("(actor_kind = 'system') = (actor_id is null)", name=op.f("ck_audit_entries_actor_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_audit_entries_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(
        "ix_audit_entries_team_id", "audit_entries", ["team_id", "id"], postgresql_where=sa.text("team_id is not null")
    )
    op.create_index(
        "ix_audit_entries_actor_id",
        "audit_entries",
        ["actor_id", "id"],
        postgresql_where=sa.text("actor_id is not null"),
    )
    for moment, act, each in (("update or delete", "append_only", "row"), ("truncate", "no_truncate", "statement")):
        op.execute(
            f"create trigger audit_entries_{act} before {moment} on audit_entries"
            f" for each {each} execute function refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("audit_entries")
