"""The Stripe mirror, checkouts and the webhook inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("event_id", sa.String(collation="C"), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("api_version", sa.String(), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state in ('pending', 'held', 'parked', 'ignored', 'done', 'dead')", name=op.f("ck_stripe_events_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_stripe_events_event_id")),
    )
    op.create_index(
        "ix_stripe_events_due",
        "stripe_events",
        ["run_at"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.create_index("ix_stripe_events_object_id", "stripe_events", ["object_id"], unique=False)
    op.create_table(
        "customers",
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("default_payment_method", sa.String(), nullable=True),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("gen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_customers_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_customers")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_customers_stripe_id")),
    )
    op.create_table(
        "invoices",
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("subscription_stripe_id", sa.String(), nullable=True),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("billing_reason", sa.String(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("amount_due", sa.Integer(), nullable=False),
        sa.Column("amount_paid", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("hosted_invoice_url", sa.String(), nullable=True),
        sa.Column("invoice_pdf", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_invoices_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_invoices_stripe_id")),
    )
    op.create_index("ix_invoices_team_id", "invoices", ["team_id", sa.literal_column("created_at desc")], unique=False)
    op.create_table(
        "paid_periods",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("subscription_stripe_id", sa.String(), nullable=False),
        sa.Column("invoice_stripe_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("plan_key", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("credits_monthly", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("interval in ('month', 'year')", name=op.f("ck_paid_periods_interval")),
        sa.CheckConstraint("kind in ('plan', 'trial')", name=op.f("ck_paid_periods_kind")),
        sa.CheckConstraint("credits_monthly >= 0", name=op.f("ck_paid_periods_credits")),
        sa.CheckConstraint("period_start < period_end", name=op.f("ck_paid_periods_order")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_paid_periods_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paid_periods")),
        sa.UniqueConstraint(
            "subscription_stripe_id",
            "kind",
            "period_start",
            name=op.f("uq_paid_periods_subscription_stripe_id_kind_period_start"),
        ),
    )
    op.create_index("ix_paid_periods_period_end", "paid_periods", ["period_end"], unique=False)
    op.create_table(
        "payment_methods",
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("brand", sa.String(), nullable=True),
        sa.Column("last4", sa.String(), nullable=True),
        sa.Column("exp_month", sa.Integer(), nullable=True),
        sa.Column("exp_year", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_payment_methods_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_payment_methods_stripe_id")),
    )
    op.create_index(op.f("ix_payment_methods_team_id"), "payment_methods", ["team_id"], unique=False)
    op.create_table(
        "checkouts",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("user_id", sa.String(collation="C"), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("plan_key", sa.String(), nullable=False),
        sa.Column("price_id", sa.String(collation="C"), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("subscription_stripe_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("purpose in ('plan')", name=op.f("ck_checkouts_purpose")),
        sa.CheckConstraint(
            "state in ('starting', 'open', 'complete', 'expired', 'failed', 'replaced')",
            name=op.f("ck_checkouts_state"),
        ),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_checkouts_price_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_checkouts_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_checkouts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkouts")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_checkouts_stripe_id")),
    )
    op.create_index("ix_checkouts_team_id", "checkouts", ["team_id", "created_at"], unique=False)
    op.create_index(
        "uq_checkouts_one_current",
        "checkouts",
        ["team_id"],
        unique=True,
        postgresql_where=sa.text("state in ('starting', 'open') and purpose = 'plan'"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("plan_key", sa.String(), nullable=True),
        sa.Column("price_id", sa.String(collation="C"), nullable=True),
        sa.Column("interval", sa.String(), nullable=True),
        sa.Column("unit_amount", sa.Integer(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("default_payment_method", sa.String(), nullable=True),
        sa.Column("latest_invoice", sa.String(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_subscriptions_price_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_subscriptions_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_subscriptions_stripe_id")),
    )
    op.create_index("ix_subscriptions_team_id", "subscriptions", ["team_id"], unique=False)
    op.create_index(
        "uq_subscriptions_one_live",
        "subscriptions",
        ["team_id"],
        unique=True,
        postgresql_where=sa.text("status in ('trialing', 'active', 'past_due', 'unpaid', 'paused') and not duplicate"),
    )
    op.create_table(
        "subscription_items",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("subscription_id", sa.String(collation="C"), nullable=False),
        sa.Column("team_id", sa.String(collation="C"), nullable=False),
        sa.Column("stripe_id", sa.String(collation="C"), nullable=False),
        sa.Column("stripe_price_id", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_amount", sa.Integer(), nullable=True),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_subscription_items_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_subscription_items_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_items")),
        sa.UniqueConstraint(
            "subscription_id", "stripe_id", name=op.f("uq_subscription_items_subscription_id_stripe_id")
        ),
    )


def downgrade() -> None:
    op.drop_table("subscription_items")
    op.drop_index(
        "uq_subscriptions_one_live",
        table_name="subscriptions",
        postgresql_where=sa.text("status in ('trialing', 'active', 'past_due', 'unpaid', 'paused') and not duplicate"),
    )
    op.drop_index("ix_subscriptions_team_id", table_name="subscriptions")
    op.drop_table("subscriptions")
    op.drop_index(
        "uq_checkouts_one_current",
        table_name="checkouts",
        postgresql_where=sa.text("state in ('starting', 'open') and purpose = 'plan'"),
    )
    op.drop_index("ix_checkouts_team_id", table_name="checkouts")
    op.drop_table("checkouts")
    op.drop_index(op.f("ix_payment_methods_team_id"), table_name="payment_methods")
    op.drop_table("payment_methods")
    op.drop_index("ix_paid_periods_period_end", table_name="paid_periods")
    op.drop_table("paid_periods")
    op.drop_index("ix_invoices_team_id", table_name="invoices")
    op.drop_table("invoices")
    op.drop_table("customers")
    op.drop_index("ix_stripe_events_object_id", table_name="stripe_events")
    op.drop_index(
        "ix_stripe_events_due", table_name="stripe_events", postgresql_where=sa.text("state in ('pending', 'parked')")
    )
    op.drop_table("stripe_events")
