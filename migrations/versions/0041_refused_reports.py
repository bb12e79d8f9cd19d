"""The index of the reports of use that Stripe will never take: few among many, and counted whenever `/metrics` is asked.

Nothing here runs in one transaction: a run that was cut off is completed by the next.
"""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"

INDEX = "ix_meter_reports_refused"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")  # it waits for the writers of the table, and nobody waits for it
        # One that was cut off is there and not valid: it is built anew.
        op.execute(f"drop index concurrently if exists {INDEX}")
        op.execute(f"create index concurrently {INDEX} on meter_reports (created_at) where state = 'refused'")
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    op.drop_index(INDEX, table_name="meter_reports")
