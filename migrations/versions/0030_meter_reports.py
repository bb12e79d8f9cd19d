"""Metered billing: prices of meters, what was reported to Stripe of which use, and where Stripe counts something else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0027"

PREFIXED_ID = sa.String(collation="C")
TIME = sa.DateTime(timezone=True)

PURPOSES = "'plan', 'seat', 'bundle', 'addon'"
METER = (
    "case purpose when 'metered' then num_nonnulls(meter_id, included, plan_id) = 3 and included >= 0"
    " and unit_amount_cents > 0 and interval = 'month' else num_nonnulls(meter_id, included) = 0 end"
)
PRICE_IS_FIXED = """
create trigger price_is_fixed before update on prices for each row
when (
    (old.id, old.purpose, old.unit_amount_cents, old.currency, old.lookup_key)
        is distinct from (new.id, new.purpose, new.unit_amount_cents, new.currency, new.lookup_key)
    or (old.plan_id, old.bundle_id, old.addon_id, {old}old.interval)
        is distinct from (new.plan_id, new.bundle_id, new.addon_id, {new}new.interval)
    or (old.stripe_price_id is not null and old.stripe_price_id is distinct from new.stripe_price_id)
)
execute function refuse_price_change()
"""
# What a report says is fixed once it is written: only how far it came changes.
REPORT_IS_FIXED = """
create function refuse_report_change() returns trigger language plpgsql as $$
begin
    raise exception 'what a report says of a use never changes' using errcode = 'restrict_violation';
end $$;
create trigger report_is_fixed before update on meter_reports for each row
when (
    (old.id, old.team_id, old.meter, old.starts_at, old.part, old.quantity, old.identifier, old.dated_at)
        is distinct from
    (new.id, new.team_id, new.meter, new.starts_at, new.part, new.quantity, new.identifier, new.dated_at)
    or (old.state in ('delivered', 'refused') and old.state <> new.state)
)
execute function refuse_report_change();
"""


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.add_column("meters", sa.Column("stripe_meter_id", PREFIXED_ID, nullable=True))
    op.create_unique_constraint(op.f("uq_meters_stripe_meter_id"), "meters", ["stripe_meter_id"])
    _widen_prices()
    _create_reports()
    _create_drifts()


def _widen_prices() -> None:
    """The catalog's prices are few, so that this is done in a moment."""
    op.add_column("prices", sa.Column("meter_id", PREFIXED_ID, nullable=True))
    op.add_column("prices", sa.Column("included", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_prices_meter_id"), "prices", "meters", ["meter_id"], ["id"])
    _replace_purposes(f"{PURPOSES}, 'metered'")
    op.execute(f"alter table prices add constraint ck_prices_meter check ({METER})")
    _index_prices_of_plans(" and meter_id is null")
    op.create_index(
        "uq_prices_one_of_meter",
        "prices",
        ["plan_id", "meter_id", "currency"],
        unique=True,
        postgresql_where=sa.text("active and meter_id is not null"),
    )
    _replace_trigger("old.meter_id, old.included, ", "new.meter_id, new.included, ")


def _replace_purposes(purposes: str) -> None:
    op.execute("alter table prices drop constraint ck_prices_purpose")
    op.execute(f"alter table prices add constraint ck_prices_purpose check (purpose in ({purposes}))")


def _index_prices_of_plans(more: str) -> None:
    op.drop_index("uq_prices_one_of_plan", table_name="prices")
    op.create_index(
        "uq_prices_one_of_plan",
        "prices",
        ["plan_id", "interval", "currency", "purpose"],
        unique=True,
        postgresql_where=sa.text(f"active and plan_id is not null{more}"),
    )


def _replace_trigger(old: str, new: str) -> None:
    op.execute("drop trigger price_is_fixed on prices")
    op.execute(PRICE_IS_FIXED.format(old=old, new=new))


def _create_reports() -> None:
    op.create_table(
        "meter_reports",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("dated_at", TIME, nullable=False),
        sa.Column("after_close", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", TIME, server_default=sa.text("app_now()"), nullable=False),
        sa.Column("first_sent_at", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_holder", sa.BigInteger(), nullable=True),
        sa.Column("created_at", TIME, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("part > 0", name=op.f("ck_meter_reports_part")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_meter_reports_quantity")),
        sa.CheckConstraint(
            "state in ('pending', 'sending', 'unknown', 'delivered', 'refused')", name=op.f("ck_meter_reports_state")
        ),
        sa.CheckConstraint(
            "(state = 'delivered') = (delivered_at is not null)", name=op.f("ck_meter_reports_delivered_at")
        ),
        sa.CheckConstraint("state <> 'refused' or error is not null", name=op.f("ck_meter_reports_error")),
        sa.CheckConstraint("dated_at >= starts_at", name=op.f("ck_meter_reports_dated_at")),
        sa.ForeignKeyConstraint(["team_id"], ["customers.team_id"], name=op.f("fk_meter_reports_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_reports")),
        sa.UniqueConstraint(
            "team_id", "meter", "starts_at", "part", name=op.f("uq_meter_reports_team_id_meter_starts_at_part")
        ),
        sa.UniqueConstraint("identifier", name=op.f("uq_meter_reports_identifier")),
    )
    op.create_index(
        "ix_meter_reports_due",
        "meter_reports",
        ["run_at", "id"],
        postgresql_where=sa.text("state in ('pending', 'sending', 'unknown')"),
    )
    op.create_index("ix_meter_reports_dated_at", "meter_reports", ["team_id", "meter", "dated_at"])
    op.execute(REPORT_IS_FIXED)


def _create_drifts() -> None:
    op.create_table(
        "meter_drifts",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("reported", sa.BigInteger(), nullable=False),
        sa.Column("at_stripe", sa.Numeric(), nullable=False),
        sa.Column("found_at", TIME, server_default=sa.text("app_now()"), nullable=False),
        sa.Column("gone_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["customers.team_id"], name=op.f("fk_meter_drifts_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_drifts")),
    )
    op.create_index(
        "uq_meter_drifts_open",
        "meter_drifts",
        ["team_id", "meter"],
        unique=True,
        postgresql_where=sa.text("gone_at is null"),
    )


def downgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.drop_table("meter_drifts")
    op.drop_table("meter_reports")
    op.execute("drop function refuse_report_change()")
    op.execute("delete from prices where purpose = 'metered'")
    _replace_trigger("", "")
    op.drop_index("uq_prices_one_of_meter", table_name="prices")
    _index_prices_of_plans("")
    op.execute("alter table prices drop constraint ck_prices_meter")
    _replace_purposes(PURPOSES)
    op.drop_column("prices", "included")
    op.drop_column("prices", "meter_id")
    op.drop_column("meters", "stripe_meter_id")
