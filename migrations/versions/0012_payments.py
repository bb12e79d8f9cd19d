"""The payment history, refunds, the customer portal's configuration, detached payment methods and thin events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011b"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _payments()
    _refunds()
    op.create_table(
        "portal_configurations",
        sa.Column("one_row", sa.Boolean(), nullable=False),
        sa.Column("stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("params", JSONB(), nullable=False),
        sa.Column("synced_at", MOMENT, nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_portal_configurations_one_row")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_portal_configurations")),
    )
    _portal_visits()
    op.add_column(
        "payment_methods", sa.Column("detached", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("stripe_events", sa.Column("snapshot_event_id", sa.String(), nullable=True))


def _mirrored() -> list[sa.Column[object]]:
    return [
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", MOMENT, nullable=False),
    ]


def _payments() -> None:
    op.create_table(
        "payments",
        *_mirrored(),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("amount_refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("invoice_stripe_id", PREFIXED_ID, nullable=True),
        sa.Column("payment_intent_stripe_id", sa.String(), nullable=True),
        sa.Column("charge_stripe_id", sa.String(), nullable=True),
        sa.Column("checkout_stripe_id", sa.String(), nullable=True),
        sa.Column("brand", sa.String(), nullable=True),
        sa.Column("last4", sa.String(), nullable=True),
        sa.Column("receipt_url", sa.String(), nullable=True),
        sa.Column("failure_code", sa.String(), nullable=True),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "type in ('subscription_payment', 'upgrade', 'downgrade', 'cancel', 'top_up', 'refund')",
            name=op.f("ck_payments_type"),
        ),
        sa.CheckConstraint(
            "status in ('pending', 'requires_action', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_payments_status"),
        ),
        sa.CheckConstraint(
            "case type when 'refund' then amount <= 0 when 'cancel' then amount = 0 else amount >= 0 end",
            name=op.f("ck_payments_amount"),
        ),
        sa.CheckConstraint(
            "amount_refunded between 0 and greatest(amount, 0)", name=op.f("ck_payments_amount_refunded")
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_payments_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_payments_stripe_id")),
    )
    op.create_index("ix_payments_history", "payments", ["team_id", sa.text("occurred_at desc"), sa.text("id desc")])
    op.create_index(
        "ix_payments_invoice",
        "payments",
        ["invoice_stripe_id"],
        postgresql_where=sa.text("invoice_stripe_id is not null"),
    )


def _refunds() -> None:
    op.create_table(
        "refunds",
        *_mirrored(),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("payment_intent_stripe_id", PREFIXED_ID, nullable=True),
        sa.Column("charge_stripe_id", sa.String(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("failure_reason", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("effect", sa.String(), server_default="none", nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount")),
        sa.CheckConstraint("effect in ('none', 'taken', 'returned')", name=op.f("ck_refunds_effect")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_refunds_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_refunds_stripe_id")),
    )
    op.create_index("ix_refunds_team_id", "refunds", ["team_id"])
    op.create_index("ix_refunds_payment_intent", "refunds", ["payment_intent_stripe_id"])


def _portal_visits() -> None:
    op.create_table(
        "portal_visits",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("flow", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint(
            "flow in ('payment_method_update', 'subscription_cancel')", name=op.f("ck_portal_visits_flow")
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_portal_visits_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_portal_visits_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_visits")),
    )
    op.create_index("ix_portal_visits_team_id", "portal_visits", ["team_id", "created_at"])


def downgrade() -> None:
    op.drop_column("stripe_events", "snapshot_event_id")
    op.drop_column("payment_methods", "detached")
    for table in ("portal_visits", "portal_configurations", "refunds", "payments"):
        op.drop_table(table)
