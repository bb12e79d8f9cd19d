"""The checks of the ledger proved on old rows, without keeping anybody from writing.

Nothing here runs in one transaction: a run that was cut off is completed by the next.
"""

from __future__ import annotations

from alembic import op

revision = "0029b"
down_revision = "0029"

CHECKS = {"credit_grants": "ck_credit_grants_frozen", "credit_entries": "ck_credit_entries_amount"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, check in CHECKS.items():
            op.execute(f"alter table {table} validate constraint {check}")


def downgrade() -> None:
    pass
