"""Daily totals of what was used before they were kept.

What is to be added up is what has no `recorded_at`, and of that no more comes. It is done in batches, each with the place
it came to in one transaction: stopped half-way and begun again, it goes on where it was, and counts nothing twice.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026b"
down_revision = "0026"

BATCH = 20_000

# Ties in time stay in one batch.
FILL = sa.text("""
with batch as (
    select team_id, occurred_at, meter, api_key_id, quantity, cost
    from usage_events_first
    where (team_id, occurred_at) > (:team_id, cast(:reached_at as timestamptz)) and recorded_at is null
    order by team_id, occurred_at fetch first :batch rows with ties
), days as (
    select team_id, usage_starts_at(team_id, occurred_at) as starts_at, meter, coalesce(api_key_id, '') as api_key_id,
        sum(quantity) as quantity, sum(cost) as cost, count(*) as events
    from batch group by 1, 2, 3, 4
), filled as (
    insert into usage_daily as d (team_id, starts_at, meter, api_key_id, quantity, cost, events)
    select * from days order by 1, 2, 3, 4
    on conflict (team_id, starts_at, meter, api_key_id, user_id) do update set quantity = d.quantity + excluded.quantity,
        cost = d.cost + excluded.cost, events = d.events + excluded.events
), moved as (
    update usage_fill set (team_id, reached_at) = (
        select team_id, occurred_at from batch order by team_id desc, occurred_at desc limit 1
    ) where exists (select from batch)
    returning team_id, cast(reached_at as text) as reached_at
)
select team_id, reached_at from moved
""")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute('create table if not exists usage_fill (team_id varchar collate "C", reached_at timestamptz)')
        op.execute("insert into usage_fill select '', '-infinity' where not exists (select from usage_fill)")
        begun = sa.text("select team_id, cast(reached_at as text) as reached_at from usage_fill")
        place = op.get_bind().execute(begun).mappings().first()
        while place:
            place = op.get_bind().execute(FILL, {"batch": BATCH, **place}).mappings().first()
        op.execute("drop table usage_fill")


def downgrade() -> None:
    """The totals go with their table."""
