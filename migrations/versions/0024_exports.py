"""Lists as files: what was asked for, how far it has come, and the file in parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")
OPEN = "state in ('waiting', 'running')"
CHECKS = {
    "format": "format in ('csv', 'xlsx')",
    "state": "state in ('waiting', 'running', 'done', 'failed')",
    "finished_at": f"(finished_at is null) = ({OPEN})",
    "size_bytes": "(state = 'done') = (size_bytes is not null)",
    "failure": "(state = 'failed') = (failure is not null)",
    "rows_total": "state not in ('running', 'done') or rows_total is not null",
    "counts": "rows_done >= 0 and attempts >= 0",
}


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("rows_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=False),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_exports_{name}")) for name, rule in CHECKS.items()),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_exports_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_exports_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index("uq_exports_one_open", "exports", ["team_id"], unique=True, postgresql_where=sa.text(OPEN))
    op.create_index("ix_exports_team_id", "exports", ["team_id", "created_at", "id"])
    op.create_index("ix_exports_due", "exports", ["run_at"], postgresql_where=sa.text(OPEN))
    op.create_index("ix_exports_expires_at", "exports", ["expires_at"])
    op.create_table(
        "export_parts",
        sa.Column("export_id", PREFIXED_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_export_parts_number")),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.id"], name=op.f("fk_export_parts_export_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_parts")),
    )


def downgrade() -> None:
    op.drop_table("export_parts")
    op.drop_table("exports")
