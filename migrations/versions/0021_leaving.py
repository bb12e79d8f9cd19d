"""Leaving a plan: further kinds of changes, why and when a subscription was canceled or paused, and what each of its states
leaves of seats and credits.

The new columns are nullable or have a constant default, so that no table is rewritten; the wider check is validated beside
the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

KINDS_BEFORE = ("plan", "seats", "undo")
KINDS = (*KINDS_BEFORE, "cancel", "cancel_now", "resume", "pause", "unpause")

SUBSCRIPTION_COLUMNS = (
    sa.Column("cancel_reason", sa.String(), nullable=True),
    sa.Column("cancel_feedback", sa.String(), nullable=True),
    sa.Column("cancel_comment", sa.String(), nullable=True),
    sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
)
ACCESS_COLUMNS = (
    sa.Column("seats_kept", sa.Boolean(), nullable=False, server_default=sa.text("true")),
    sa.Column("credits_frozen", sa.Boolean(), nullable=False, server_default=sa.text("false")),
)
# What the catalog says by default; its next sync writes what it says itself.
FILL = "update plan_access set seats_kept = status <> 'canceled', credits_frozen = status in ('unpaid', 'paused')"

STANDING = """
create {or_replace} view team_standing as
select t.id as team_id, s.id as subscription_id, s.status,
    case when pa.access in ('full', 'read_only') then p.id else free.id end as plan_id,
    case when pa.access in ('full', 'read_only') then pa.access
        when free.id is not null then 'full' else 'none' end as access{more}
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
# Whose seats count: the plan's in force, with what is paid for beside it, or those of a plan that keeps them.
MORE = """,
    coalesce(pa.credits_frozen, false) as credits_frozen,
    case when pa.access in ('full', 'read_only') or pa.seats_kept then s.id end as seats_subscription_id"""


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    _allow(KINDS)
    for column in SUBSCRIPTION_COLUMNS:
        op.add_column("subscriptions", column.copy())
    for column in ACCESS_COLUMNS:
        op.add_column("plan_access", column.copy())
    op.execute(FILL)
    op.execute(STANDING.format(or_replace="or replace", more=MORE))


def _allow(kinds: tuple[str, ...]) -> None:
    words = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute("alter table change_previews drop constraint ck_change_previews_kind")
    op.execute(
        f"alter table change_previews add constraint ck_change_previews_kind check (kind in ({words})) not valid"
    )
    op.execute("alter table change_previews validate constraint ck_change_previews_kind")


def downgrade() -> None:
    effective = op.get_bind().exec_driver_sql("select pg_get_viewdef('entitlements_effective')").scalar()
    op.execute("drop view entitlements_effective")
    op.execute("drop view team_standing")
    op.execute(STANDING.format(or_replace="", more=""))
    op.get_bind().exec_driver_sql(f"create view entitlements_effective as {effective}")
    for column in ACCESS_COLUMNS:
        op.drop_column("plan_access", column.name)
    for column in SUBSCRIPTION_COLUMNS:
        op.drop_column("subscriptions", column.name)
    further = "select id from change_previews where kind not in ('plan', 'seats', 'undo')"
    op.execute(f"delete from pending_changes where preview_id in ({further})")
    op.execute(f"delete from change_previews where id in ({further})")
    _allow(KINDS_BEFORE)
