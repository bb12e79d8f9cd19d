"""The catalog: plans, prices, bundles, features, meters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Subscribers pay what their price said when they came: another amount is another row. The same holds for the price at
# Stripe that a row stands for, once it is known.
PRICE_IS_FIXED = """
create function refuse_price_change() returns trigger language plpgsql as $$
begin
    raise exception 'price % is fixed: make another one and retire it', old.id using errcode = 'restrict_violation';
end
$$
"""
PRICE_IS_FIXED_TRIGGER = """
create trigger price_is_fixed before update on prices for each row
when (
    (old.id, old.purpose, old.unit_amount_cents, old.currency, old.lookup_key)
        is distinct from (new.id, new.purpose, new.unit_amount_cents, new.currency, new.lookup_key)
    or (old.plan_id, old.bundle_id, old.interval) is distinct from (new.plan_id, new.bundle_id, new.interval)
    or (old.stripe_price_id is not null and old.stripe_price_id is distinct from new.stripe_price_id)
)
execute function refuse_price_change()
"""


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("expires_after_months", sa.Integer(), nullable=True),
        sa.Column("stripe_product_id", sa.String(collation="C"), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("credits > 0", name=op.f("ck_bundles_credits")),
        sa.CheckConstraint("expires_after_months > 0", name=op.f("ck_bundles_expires_after_months")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundles")),
        sa.UniqueConstraint("key", name=op.f("uq_bundles_key")),
        sa.UniqueConstraint("stripe_product_id", name=op.f("uq_bundles_stripe_product_id")),
    )
    op.create_table(
        "features",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('switch', 'limit', 'text')", name=op.f("ck_features_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_features")),
        sa.UniqueConstraint("key", name=op.f("uq_features_key")),
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("cost_credits", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(mode = 'credits') = (cost_credits is not null)", name=op.f("ck_meters_cost_of_mode")),
        sa.CheckConstraint("mode in ('credits', 'metered')", name=op.f("ck_meters_mode")),
        sa.CheckConstraint("cost_credits > 0", name=op.f("ck_meters_cost_credits")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meters")),
        sa.UniqueConstraint("key", name=op.f("uq_meters_key")),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("credits_monthly", sa.BigInteger(), nullable=True),
        sa.Column("seats_included", sa.Integer(), nullable=True),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("stripe_product_id", sa.String(collation="C"), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("kind in ('free', 'paid', 'custom')", name=op.f("ck_plans_kind")),
        sa.CheckConstraint("trial_days >= 0 and (trial_days = 0 or kind = 'paid')", name=op.f("ck_plans_trial_days")),
        sa.CheckConstraint("credits_monthly >= 0", name=op.f("ck_plans_credits_monthly")),
        sa.CheckConstraint("seats_included > 0", name=op.f("ck_plans_seats_included")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("key", name=op.f("uq_plans_key")),
        sa.UniqueConstraint("stripe_product_id", name=op.f("uq_plans_stripe_product_id")),
    )
    op.create_index(
        "uq_plans_one_free",
        "plans",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("kind = 'free' and archived_at is null"),
    )
    op.create_table(
        "plan_features",
        sa.Column("plan_id", sa.String(collation="C"), nullable=False),
        sa.Column("feature_id", sa.String(collation="C"), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("limit_value", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.CheckConstraint("limit_value >= 0", name=op.f("ck_plan_features_limit_value")),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_plan_features_feature_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_features_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "feature_id", name=op.f("pk_plan_features")),
    )
    op.create_table(
        "plan_meters",
        sa.Column("plan_id", sa.String(collation="C"), nullable=False),
        sa.Column("meter_id", sa.String(collation="C"), nullable=False),
        sa.Column("included", sa.BigInteger(), nullable=False),
        sa.Column("overage_per_1000_cents", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("included >= 0", name=op.f("ck_plan_meters_included")),
        sa.CheckConstraint("overage_per_1000_cents > 0", name=op.f("ck_plan_meters_overage_per_1000_cents")),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name=op.f("fk_plan_meters_meter_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_meters_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "meter_id", name=op.f("pk_plan_meters")),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(collation="C"), nullable=True),
        sa.Column("bundle_id", sa.String(collation="C"), nullable=True),
        sa.Column("interval", sa.String(), nullable=True),
        sa.Column("unit_amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("lookup_key", sa.String(), nullable=False),
        sa.Column("stripe_price_id", sa.String(collation="C"), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint(
            "case purpose when 'bundle' then bundle_id is not null and plan_id is null and interval is null else plan_id is not null and bundle_id is null and interval is not null end",
            name=op.f("ck_prices_owner"),
        ),
        sa.CheckConstraint("currency ~ '^[a-z]{3}$'", name=op.f("ck_prices_currency")),
        sa.CheckConstraint("interval in ('month', 'year')", name=op.f("ck_prices_interval")),
        sa.CheckConstraint("purpose in ('plan', 'seat', 'bundle')", name=op.f("ck_prices_purpose")),
        sa.CheckConstraint("unit_amount_cents >= 0", name=op.f("ck_prices_unit_amount_cents")),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name=op.f("fk_prices_bundle_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_prices_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint("stripe_price_id", name=op.f("uq_prices_stripe_price_id")),
    )
    op.create_index("uq_prices_lookup_key", "prices", ["lookup_key"], unique=True, postgresql_where=sa.text("active"))
    op.create_index(
        "uq_prices_one_of_bundle",
        "prices",
        ["bundle_id", "currency"],
        unique=True,
        postgresql_where=sa.text("active and bundle_id is not null"),
    )
    op.create_index(
        "uq_prices_one_of_plan",
        "prices",
        ["plan_id", "interval", "currency", "purpose"],
        unique=True,
        postgresql_where=sa.text("active and plan_id is not null"),
    )
    op.execute(PRICE_IS_FIXED)
    op.execute(PRICE_IS_FIXED_TRIGGER)


def downgrade() -> None:
    op.drop_index(
        "uq_prices_one_of_plan", table_name="prices", postgresql_where=sa.text("active and plan_id is not null")
    )
    op.drop_index(
        "uq_prices_one_of_bundle", table_name="prices", postgresql_where=sa.text("active and bundle_id is not null")
    )
    op.drop_index("uq_prices_lookup_key", table_name="prices", postgresql_where=sa.text("active"))
    op.drop_table("prices")
    op.execute("drop function refuse_price_change()")
    op.drop_table("plan_meters")
    op.drop_table("plan_features")
    op.drop_index(
        "uq_plans_one_free", table_name="plans", postgresql_where=sa.text("kind = 'free' and archived_at is null")
    )
    op.drop_table("plans")
    op.drop_table("meters")
    op.drop_table("features")
    op.drop_table("bundles")
