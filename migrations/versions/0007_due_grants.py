"""When the next grant of a year or of the free plan is due; amounts of money in 64 bits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

MOMENT = sa.DateTime(timezone=True)

# Currencies without a minor unit worth speaking of pass 2**31 with the price of a dinner.
AMOUNTS = {
    "invoices": ("total", "amount_due", "amount_paid"),
    "subscriptions": ("unit_amount",),
    "subscription_items": ("unit_amount",),
    "paid_periods": ("credits_monthly",),
}


def upgrade() -> None:
    op.create_table(
        "free_periods",
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_free_periods_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_free_periods")),
    )
    op.create_index("ix_free_periods_due_at", "free_periods", ["due_at"])
    op.add_column("paid_periods", sa.Column("next_grant_at", MOMENT, nullable=True))
    # What has been granted of them is known by its cause, so looking at them once more does no harm.
    op.execute("update paid_periods set next_grant_at = period_start where interval = 'year' and kind = 'plan'")
    op.create_index(
        "ix_paid_periods_due", "paid_periods", ["next_grant_at"], postgresql_where=sa.text("next_grant_at is not null")
    )
    op.drop_index("ix_paid_periods_period_end", table_name="paid_periods")
    for table, columns in AMOUNTS.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.BigInteger(), existing_type=sa.Integer())


def downgrade() -> None:
    for table, columns in AMOUNTS.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.Integer(), existing_type=sa.BigInteger())
    op.create_index("ix_paid_periods_period_end", "paid_periods", ["period_end"])
    op.drop_index("ix_paid_periods_due", table_name="paid_periods")
    op.drop_column("paid_periods", "next_grant_at")
    op.drop_table("free_periods")
