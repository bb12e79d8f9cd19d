"""What a failed payment is told by: when the invoice was first asked for, how often, and when it is asked for next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

MOMENT = sa.DateTime(timezone=True)
FAILING = "ix_invoices_failing"


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.add_column("invoices", sa.Column("attempt_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column("invoices", sa.Column("finalized_at", MOMENT, nullable=True))
    op.add_column("invoices", sa.Column("next_payment_attempt", MOMENT, nullable=True))
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")  # it waits for the readers of the table, and nobody waits for it
        op.execute(f"drop index concurrently if exists {FAILING}")
        op.execute(
            f"create index concurrently {FAILING} on invoices (finalized_at)"
            " where status in ('open', 'uncollectible') and attempt_count > 0"
        )
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {FAILING}")
    for column in ("next_payment_attempt", "finalized_at", "attempt_count"):
        op.drop_column("invoices", column)
