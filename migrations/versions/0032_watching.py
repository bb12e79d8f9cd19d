"""Beside the ledger: what was spent of a lot on a day, how far accounts were looked at, what was told; and budgets.

New tables only. What was spent before this is counted by the schedule, in steps, as everything later is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"

PREFIXED_ID = sa.String(collation="C")
NOW = sa.text("app_now()")


def upgrade() -> None:
    op.create_table(
        "credit_lot_days",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("grant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("spent > 0", name=op.f("ck_credit_lot_days_spent")),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_lot_days_team_id"),
        ),
        sa.PrimaryKeyConstraint("team_id", "grant_id", "day", name=op.f("pk_credit_lot_days")),
    )
    op.create_table(
        "credit_progress",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("counted_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("looked_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("counted_version >= 0", name=op.f("ck_credit_progress_counted_version")),
        sa.CheckConstraint("looked_version >= 0", name=op.f("ck_credit_progress_looked_version")),
        sa.ForeignKeyConstraint(["team_id"], ["credit_accounts.team_id"], name=op.f("fk_credit_progress_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_credit_progress")),
    )
    op.create_table(
        "threshold_notices",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("fact", PREFIXED_ID, nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_threshold_notices_team_id")),
        sa.PrimaryKeyConstraint("team_id", "fact", name=op.f("pk_threshold_notices")),
    )
    op.create_table(
        "usage_budgets",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("api_key_id", PREFIXED_ID, nullable=True),
        sa.Column("user_id", PREFIXED_ID, nullable=True),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("num_nonnulls(api_key_id, user_id) = 1", name=op.f("ck_usage_budgets_subject")),
        sa.CheckConstraint("credits > 0", name=op.f("ck_usage_budgets_credits")),
        sa.CheckConstraint("action in ('warn', 'stop')", name=op.f("ck_usage_budgets_action")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_usage_budgets_team_id")),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_usage_budgets_api_key_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_usage_budgets_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_budgets")),
    )
    for name, column in (("uq_usage_budgets_api_key", "api_key_id"), ("uq_usage_budgets_user", "user_id")):
        op.create_index(
            name,
            "usage_budgets",
            ["team_id", column],
            unique=True,
            postgresql_where=sa.text(f"{column} is not null"),
        )


def downgrade() -> None:
    for table in ("usage_budgets", "threshold_notices", "credit_progress", "credit_lot_days"):
        op.drop_table(table)
