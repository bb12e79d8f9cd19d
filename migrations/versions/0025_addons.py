"""Add-ons: what is sold beside a plan, their prices, what they give, and changes of them.

The view of rights takes them in, and a trigger counts when a team's items of them change, so that what was read of its
rights is read anew. New columns are nullable; the checks of tables that may be large are validated beside the running
application.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"

PREFIXED_ID = sa.String(collation="C")
JSON = postgresql.JSONB(astext_type=sa.Text())

OWNER = (
    "num_nonnulls(plan_id, bundle_id, addon_id) = 1 and (bundle_id is null) = (interval is not null)"
    " and case purpose when 'bundle' then bundle_id when 'addon' then addon_id else plan_id end is not null"
)
OWNER_BEFORE = (
    "case purpose when 'bundle' then bundle_id is not null and plan_id is null and interval is null"
    " else plan_id is not null and bundle_id is null and interval is not null end"
)
PRICE_IS_FIXED = """
create trigger price_is_fixed before update on prices for each row
when (
    (old.id, old.purpose, old.unit_amount_cents, old.currency, old.lookup_key)
        is distinct from (new.id, new.purpose, new.unit_amount_cents, new.currency, new.lookup_key)
    or (old.plan_id, old.bundle_id, {more}old.interval) is distinct from (new.plan_id, new.bundle_id, {less}new.interval)
    or (old.stripe_price_id is not null and old.stripe_price_id is distinct from new.stripe_price_id)
)
execute function refuse_price_change()
"""
# The add-ons of a team's subscription, as long as that is what gives it its plan. A number of them adds so often.
EFFECTIVE = """
create or replace view entitlements_effective as
select st.team_id, st.plan_id, st.access, f.id as feature_id, f.key as feature_key, f.name, f.kind, f.unit, f.position,
    case when o.id is not null then o.enabled
        else coalesce(pf.enabled, false) or a.feature_id is not null end as enabled,
    case when o.id is not null then o.limit_value
        when a.feature_id is null then pf.limit_value
        when a.unlimited or (pf.enabled and pf.limit_value is null) then null
        else coalesce(pf.limit_value, 0) + a.more end as limit_value,
    case when o.id is null and a.feature_id is null then pf.text end as text,
    case when o.id is not null then 'override' when a.feature_id is not null then 'addon'
        when pf.plan_id is not null then 'plan' else 'none' end as source,
    o.ends_at
from team_standing st
cross join features f
left join plan_features pf on pf.plan_id = st.plan_id and pf.feature_id = f.id
left join lateral (
    select af.feature_id, bool_or(af.limit_value is null) as unlimited, sum(af.limit_value * i.quantity)::bigint as more
    from subscription_items i
    join prices on prices.stripe_price_id = i.stripe_price_id
    join addon_features af on af.addon_id = prices.addon_id and af.feature_id = f.id
    join plans on plans.id = st.plan_id and plans.kind <> 'free'
    where i.subscription_id = st.subscription_id and i.quantity > 0
    group by af.feature_id
) a on true
left join entitlement_overrides o on o.team_id = st.team_id and o.feature_id = f.id
    and o.revoked_at is null and (o.ends_at is null or o.ends_at > app_now())
where f.archived_at is null
"""
EFFECTIVE_BEFORE = """
create or replace view entitlements_effective as
select st.team_id, st.plan_id, st.access, f.id as feature_id, f.key as feature_key, f.name, f.kind, f.unit, f.position,
    case when o.id is not null then o.enabled else coalesce(pf.enabled, false) end as enabled,
    case when o.id is not null then o.limit_value else pf.limit_value end as limit_value,
    case when o.id is null then pf.text end as text,
    case when o.id is not null then 'override' when pf.plan_id is not null then 'plan' else 'none' end as source,
    o.ends_at
from team_standing st
cross join features f
left join plan_features pf on pf.plan_id = st.plan_id and pf.feature_id = f.id
left join entitlement_overrides o on o.team_id = st.team_id and o.feature_id = f.id
    and o.revoked_at is null and (o.ends_at is null or o.ends_at > app_now())
where f.archived_at is null
"""
# Items are written anew with every look at Stripe; only those of add-ons are rights of their own.
COUNT_ITEM = """
create function count_rights_of_item() returns trigger language plpgsql as $$
begin
    if exists (
        select from prices
        where stripe_price_id in (new.stripe_price_id, old.stripe_price_id) and addon_id is not null
    ) then
        insert into rights_versions (scope, version) values (coalesce(new.team_id, old.team_id), 1)
        on conflict (scope) do update set version = rights_versions.version + 1;
    end if;
    return null;
end $$
"""
OF_ALL = ("addons", "addon_features")
KINDS = "ck_change_previews_kind"
WISH = (
    "(kind = 'addon') = (num_nonnulls(addon_key, addon_quantity) = 2) and num_nonnulls(addon_key, addon_quantity) <> 1"
)


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    _create_addons()
    _widen_prices()
    op.add_column("subscriptions", sa.Column("scheduled_addons", JSON, nullable=True))
    op.add_column("change_previews", sa.Column("addon_key", sa.String(), nullable=True))
    op.add_column("change_previews", sa.Column("addon_quantity", sa.Integer(), nullable=True))
    _check_previews({*_kinds(), "addon"})
    for name, rule in (("addon", WISH), ("addon_quantity", "addon_quantity >= 0")):
        _add_check("change_previews", name, rule)
    op.execute(EFFECTIVE)
    for table in OF_ALL:
        op.execute(
            f"create trigger count_rights after insert or update or delete on {table}"
            " for each statement execute function count_rights_of_all()"
        )
    op.execute(COUNT_ITEM)
    op.execute(
        "create trigger count_rights after insert or update or delete on subscription_items"
        " for each row execute function count_rights_of_item()"
    )


def _create_addons() -> None:
    op.create_table(
        "addons",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("quantity_max", sa.Integer(), nullable=False),
        sa.Column("stripe_product_id", PREFIXED_ID, nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("quantity_max > 0", name=op.f("ck_addons_quantity_max")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addons")),
        sa.UniqueConstraint("key", name=op.f("uq_addons_key")),
        sa.UniqueConstraint("stripe_product_id", name=op.f("uq_addons_stripe_product_id")),
    )
    op.create_table(
        "addon_plans",
        sa.Column("addon_id", PREFIXED_ID, nullable=False),
        sa.Column("plan_id", PREFIXED_ID, nullable=False),
        sa.ForeignKeyConstraint(["addon_id"], ["addons.id"], name=op.f("fk_addon_plans_addon_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_addon_plans_plan_id")),
        sa.PrimaryKeyConstraint("addon_id", "plan_id", name=op.f("pk_addon_plans")),
    )
    op.create_table(
        "addon_features",
        sa.Column("addon_id", PREFIXED_ID, nullable=False),
        sa.Column("feature_id", PREFIXED_ID, nullable=False),
        sa.Column("limit_value", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("limit_value > 0", name=op.f("ck_addon_features_limit_value")),
        sa.ForeignKeyConstraint(["addon_id"], ["addons.id"], name=op.f("fk_addon_features_addon_id")),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_addon_features_feature_id")),
        sa.PrimaryKeyConstraint("addon_id", "feature_id", name=op.f("pk_addon_features")),
    )


def _widen_prices() -> None:
    """The catalog's prices are few, so that this is done in a moment."""
    op.add_column("prices", sa.Column("addon_id", PREFIXED_ID, nullable=True))
    op.create_foreign_key(op.f("fk_prices_addon_id"), "prices", "addons", ["addon_id"], ["id"])
    op.create_index(
        "uq_prices_one_of_addon",
        "prices",
        ["addon_id", "interval", "currency"],
        unique=True,
        postgresql_where=sa.text("active and addon_id is not null"),
    )
    _replace_price_rules("purpose in ('plan', 'seat', 'bundle', 'addon')", OWNER, ("old.addon_id, ", "new.addon_id, "))


def _replace_price_rules(purpose: str, owner: str, addon: tuple[str, str]) -> None:
    for name, rule in (("purpose", purpose), ("owner", owner)):
        op.execute(f"alter table prices drop constraint ck_prices_{name}")
        op.execute(f"alter table prices add constraint ck_prices_{name} check ({rule})")
    op.execute("drop trigger price_is_fixed on prices")
    op.execute(PRICE_IS_FIXED.format(more=addon[0], less=addon[1]))


def _kinds() -> set[str]:
    """The kinds of change that there are by now: other migrations add theirs."""
    query = sa.text(f"select pg_get_constraintdef(oid) from pg_constraint where conname = '{KINDS}'")
    return set(re.findall(r"'(\w+)'", op.get_bind().execute(query).scalar_one()))


def _check_previews(kinds: set[str]) -> None:
    op.execute(f"alter table change_previews drop constraint {KINDS}")
    words = ", ".join(f"'{kind}'" for kind in sorted(kinds))
    _add_check("change_previews", "kind", f"kind in ({words})")


def _add_check(table: str, name: str, rule: str) -> None:
    op.execute(f"alter table {table} add constraint ck_{table}_{name} check ({rule}) not valid")
    op.execute(f"alter table {table} validate constraint ck_{table}_{name}")


def downgrade() -> None:
    op.execute("drop trigger count_rights on subscription_items")
    op.execute("drop function count_rights_of_item()")
    op.execute(EFFECTIVE_BEFORE)
    op.execute("alter table change_previews drop constraint ck_change_previews_addon")
    op.execute("delete from pending_changes where preview_id in (select id from change_previews where kind = 'addon')")
    op.execute("delete from change_previews where kind = 'addon'")
    _check_previews(_kinds() - {"addon"})
    op.drop_column("change_previews", "addon_quantity")
    op.drop_column("change_previews", "addon_key")
    op.drop_column("subscriptions", "scheduled_addons")
    op.execute("delete from prices where addon_id is not null")
    op.drop_index("uq_prices_one_of_addon", table_name="prices")
    _replace_price_rules("purpose in ('plan', 'seat', 'bundle')", OWNER_BEFORE, ("", ""))
    op.drop_column("prices", "addon_id")
    for table in ("addon_features", "addon_plans", "addons"):
        op.drop_table(table)
