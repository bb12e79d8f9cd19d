"""What is done with an invoice: tries to pay it, corrections, how its total comes about; and whom it is made out to.

The new columns are nullable or have a constant default, so that no table is rewritten; the check on a table that is in
use is validated beside the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")
OPEN = "state in ('pending', 'sending', 'unknown', 'requires_action')"

INVOICE_COLUMNS = (
    sa.Column("subtotal", sa.BigInteger(), nullable=True),
    sa.Column("discount", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("tax", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("credited_before", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("credited_after", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("paid_at", MOMENT, nullable=True),
)
CUSTOMER_COLUMNS = (
    sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column("po_number", sa.String(), nullable=True),
    sa.Column("sent_email", sa.String(), nullable=True),
    sa.Column("refused_email", sa.String(), nullable=True),
)


def upgrade() -> None:
    for column in INVOICE_COLUMNS:
        op.add_column("invoices", column.copy())
    op.execute(
        "alter table invoices add constraint ck_invoices_parts"
        " check (least(discount, tax, credited_before, credited_after) >= 0) not valid"
    )
    op.execute("alter table invoices validate constraint ck_invoices_parts")
    for column in CUSTOMER_COLUMNS:
        op.add_column("customers", column.copy())
    _create_tries()
    _create_credit_notes()
    _create_details()


def _create_tries() -> None:
    op.create_table(
        "payment_tries",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("invoice_id", PREFIXED_ID, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("order_key", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("confirm_url", sa.String(), nullable=True),
        sa.Column("failure_code", sa.String(), nullable=True),
        sa.Column("first_sent_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_holder", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state in ('pending', 'sending', 'unknown', 'requires_action', 'paid', 'failed')",
            name=op.f("ck_payment_tries_state"),
        ),
        sa.CheckConstraint(f"(finished_at is not null) = (not {OPEN})", name=op.f("ck_payment_tries_finished_at")),
        sa.CheckConstraint(
            "state <> 'requires_action' or confirm_url is not null", name=op.f("ck_payment_tries_confirm_url")
        ),
        sa.CheckConstraint(
            "(failure_code is not null) = (state = 'failed')", name=op.f("ck_payment_tries_failure_code")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payment_tries_amount")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_payment_tries_attempts")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_payment_tries_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_payment_tries_user_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_payment_tries_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_tries")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_payment_tries_idempotency_key")),
        sa.UniqueConstraint("invoice_id", "order_key", name=op.f("uq_payment_tries_invoice_id_order_key")),
    )
    op.create_index(
        "uq_payment_tries_one_open", "payment_tries", ["invoice_id"], unique=True, postgresql_where=sa.text(OPEN)
    )
    op.create_index("ix_payment_tries_team_id", "payment_tries", ["team_id", "created_at"])
    op.create_index("ix_payment_tries_user_id", "payment_tries", ["user_id", "created_at"])
    op.create_index("ix_payment_tries_due", "payment_tries", ["run_at"], postgresql_where=sa.text(OPEN))


def _create_credit_notes() -> None:
    op.create_table(
        "credit_notes",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("invoice_id", PREFIXED_ID, nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("before_payment", sa.BigInteger(), nullable=False),
        sa.Column("after_payment", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("memo", sa.String(), nullable=True),
        sa.Column("pdf", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("voided_at", MOMENT, nullable=True),
        sa.Column("stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", MOMENT, nullable=False),
        sa.CheckConstraint("least(amount, before_payment, after_payment) >= 0", name=op.f("ck_credit_notes_amount")),
        sa.CheckConstraint("status in ('issued', 'void')", name=op.f("ck_credit_notes_status")),
        sa.CheckConstraint("voided_at is null or status = 'void'", name=op.f("ck_credit_notes_voided_at")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_credit_notes_team_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_credit_notes_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_credit_notes_stripe_id")),
    )
    op.create_index("ix_credit_notes_team_id", "credit_notes", ["team_id", "created_at"])
    op.create_index("ix_credit_notes_invoice_id", "credit_notes", ["invoice_id"])


def _create_details() -> None:
    op.create_table(
        "tax_ids",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("verification", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["customers.team_id"], name=op.f("fk_tax_ids_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_ids")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_tax_ids_stripe_id")),
    )
    op.create_index("ix_tax_ids_team_id", "tax_ids", ["team_id", "created_at"])
    op.create_table(
        "billing_email_changes",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("asked_by_id", PREFIXED_ID, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_billing_email_changes_digest")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_billing_email_changes_team_id")),
        sa.ForeignKeyConstraint(["asked_by_id"], ["users.id"], name=op.f("fk_billing_email_changes_asked_by_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_billing_email_changes")),
        sa.UniqueConstraint("digest", name=op.f("uq_billing_email_changes_digest")),
    )


def downgrade() -> None:
    for table in ("billing_email_changes", "tax_ids", "credit_notes", "payment_tries"):
        op.drop_table(table)
    for column in CUSTOMER_COLUMNS:
        op.drop_column("customers", column.name)
    op.drop_constraint(op.f("ck_invoices_parts"), "invoices", type_="check")
    for column in INVOICE_COLUMNS:
        op.drop_column("invoices", column.name)
