"""The checks of checkouts proved on old rows, and their new indexes, without keeping anybody from writing.

Nothing here runs in one transaction: a run that was cut off is completed by the next.
"""

from __future__ import annotations

from alembic import op

revision = "0011b"
down_revision = "0011"

CHECKS = ("purpose", "buyer", "order", "credits", "expires_after_months", "payment_status", "paid_at")

INDEXES = {
    "uq_checkouts_one_of_order": "unique index concurrently uq_checkouts_one_of_order"
    " on checkouts (team_id, order_key) where state in ('starting', 'open', 'complete')",
    "ix_checkouts_user_id": "index concurrently ix_checkouts_user_id on checkouts (user_id, created_at)",
    "ix_checkouts_payment_intent": "index concurrently ix_checkouts_payment_intent"
    " on checkouts (payment_intent_stripe_id) where payment_intent_stripe_id is not null",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for constraint in ("fk_checkouts_api_key_id", *(f"ck_checkouts_{name}" for name in CHECKS)):
            op.execute(f"alter table checkouts validate constraint {constraint}")
        op.execute("set lock_timeout = 0")  # it waits for the readers of the table, and nobody waits for it
        for name, index in INDEXES.items():
            # One that was cut off is there and not valid: it is built anew.
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create {index}")
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="checkouts")
