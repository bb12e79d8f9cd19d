"""Indexes for the counts of card testing, and for finding what a page or an invoice has paid."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

INDEXES = {
    "ix_checkouts_api_key_id": "checkouts (api_key_id, created_at) where api_key_id is not null",
    "ix_card_declines_at": "card_declines (at)",
    "ix_payments_checkout": "payments (checkout_stripe_id) where checkout_stripe_id is not null",
    "ix_paid_periods_invoice": "paid_periods (invoice_stripe_id)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")  # it waits for the readers of a table, and nobody waits for it
        for name, columns in INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on {columns}")
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
        op.execute("set lock_timeout = '4s'")
