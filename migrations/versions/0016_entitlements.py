"""What a plan gives in each state of its subscription, exceptions for single teams, and the view of what they come to.

`rights_versions` counts the changes of whatever the view is made of, so that what was read of it can be kept until the
count moves. Triggers count, since no writer can forget them; they keep the history of plans for the same reason.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

MOMENT = sa.DateTime(timezone=True)
ID = sa.String(collation="C")
NOW = sa.text("app_now()")

# By default a plan is in force while it is tried, paid or being collected, and gives nothing otherwise.
FILL = """
insert into plan_access (plan_id, status, access)
select id, status, case when status in ('trialing', 'active', 'past_due') then 'full' else 'none' end
from plans cross join unnest(array['trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled']) as status
where kind <> 'free'
"""

# The team's one subscription, or the last one it had; what its state leaves of the plan; else the free plan.
STANDING = """
create view team_standing as
select t.id as team_id, s.id as subscription_id, s.status,
    case when pa.access in ('full', 'read_only') then p.id else free.id end as plan_id,
    case when pa.access in ('full', 'read_only') then pa.access
        when free.id is not null then 'full' else 'none' end as access
from teams t
left join lateral (
    select * from subscriptions
    where team_id = t.id and not duplicate
        and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')
    order by status <> 'canceled' desc, ended_at desc nulls last, id desc limit 1
) s on true
left join plans p on p.key = s.plan_key
left join plan_access pa on pa.plan_id = p.id and pa.status = s.status
left join plans free on free.kind = 'free' and free.archived_at is null
"""

EFFECTIVE = """
create view entitlements_effective as
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

COUNT_TEAM = """
create function count_rights_of_team() returns trigger language plpgsql as $$
begin
    insert into rights_versions (scope, version) values (coalesce(new.team_id, old.team_id), 1)
    on conflict (scope) do update set version = rights_versions.version + 1;
    return null;
end $$;
create function count_rights_of_all() returns trigger language plpgsql as $$
begin
    insert into rights_versions (scope, version) values ('catalog', 1)
    on conflict (scope) do update set version = rights_versions.version + 1;
    return null;
end $$;
create function keep_plan_history() returns trigger language plpgsql as $$
begin
    insert into plan_history (team_id, subscription_stripe_id, plan_key, interval, status, duplicate)
    values (new.team_id, new.stripe_id, new.plan_key, new.interval, new.status, new.duplicate);
    return null;
end $$
"""
WHEN_CHANGED = (
    "when (old.status is distinct from new.status or old.plan_key is distinct from new.plan_key"
    " or old.interval is distinct from new.interval or old.duplicate is distinct from new.duplicate"
    " or old.ended_at is distinct from new.ended_at)"
)
OF_ALL = ("plans", "features", "plan_features", "plan_access", "meters", "plan_meters")
OF_TEAM = ("entitlement_overrides",)


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.create_table(
        "plan_access",
        sa.Column("plan_id", ID, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("access", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_access_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "status", name=op.f("pk_plan_access")),
        sa.CheckConstraint(
            "status in ('trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')",
            name=op.f("ck_plan_access_status"),
        ),
        sa.CheckConstraint("access in ('full', 'read_only', 'none')", name=op.f("ck_plan_access_access")),
    )
    op.create_table(
        "entitlement_overrides",
        sa.Column("id", ID, nullable=False),
        sa.Column("team_id", ID, nullable=False),
        sa.Column("feature_id", ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("limit_value", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_entitlement_overrides_team_id")),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_entitlement_overrides_feature_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_overrides")),
        sa.CheckConstraint("limit_value >= 0", name=op.f("ck_entitlement_overrides_limit_value")),
        sa.CheckConstraint("ends_at > created_at", name=op.f("ck_entitlement_overrides_ends_at")),
    )
    op.create_index(
        "uq_entitlement_overrides_one",
        "entitlement_overrides",
        ["team_id", "feature_id"],
        unique=True,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "rights_versions",
        sa.Column("scope", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_rights_versions")),
    )
    op.create_table(
        "plan_history",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("team_id", ID, nullable=False),
        sa.Column("subscription_stripe_id", ID, nullable=False),
        sa.Column("plan_key", sa.String(), nullable=True),
        sa.Column("interval", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_history")),
    )
    op.create_index("ix_plan_history_team_id", "plan_history", ["team_id", "id"])
    for moment, act, each in (("update or delete", "append_only", "row"), ("truncate", "no_truncate", "statement")):
        op.execute(
            f"create trigger plan_history_{act} before {moment} on plan_history"
            f" for each {each} execute function refuse_change()"
        )
    op.execute(FILL)
    op.execute(STANDING)
    op.execute(EFFECTIVE)
    op.execute(COUNT_TEAM)
    for table in OF_TEAM:
        op.execute(
            f"create trigger count_rights after insert or update or delete on {table}"
            " for each row execute function count_rights_of_team()"
        )
    for table in OF_ALL:
        op.execute(
            f"create trigger count_rights after insert or update or delete on {table}"
            " for each statement execute function count_rights_of_all()"
        )
    for name, function in (("count_rights", "count_rights_of_team"), ("keep_history", "keep_plan_history")):
        op.execute(
            f"create trigger {name}_new after insert on subscriptions for each row execute function {function}()"
        )
        op.execute(
            f"create trigger {name} after update on subscriptions for each row {WHEN_CHANGED}"
            f" execute function {function}()"
        )


def downgrade() -> None:
    for name in ("count_rights", "keep_history"):
        op.execute(f"drop trigger {name} on subscriptions")
        op.execute(f"drop trigger {name}_new on subscriptions")
    for table in (*OF_ALL, *OF_TEAM):
        op.execute(f"drop trigger count_rights on {table}")
    for function in ("count_rights_of_team", "count_rights_of_all", "keep_plan_history"):
        op.execute(f"drop function {function}()")
    op.execute("drop view entitlements_effective")
    op.execute("drop view team_standing")
    for table in ("plan_history", "rights_versions", "entitlement_overrides", "plan_access"):
        op.drop_table(table)
