"""A team's month of use: counted from the anchor's own day, and never from before its subscription began.

A month that lacks the day of its anchor ends early; the ones beside it were counted from that end, not from the anchor's day
(28 January to 28 February instead of 31 January to 28 February). And the months before a subscription were counted back from
it, though its days had been counted in months from the team's creation.

Only the function is replaced. Days that were counted stay where they are.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"

LIVE = "'trialing', 'active', 'past_due', 'unpaid', 'paused'"
NAME = "usage_month_of(the_team text, the_moment timestamptz, out starts timestamptz, out ends timestamptz)"

# As `usage/periods.py` has it for the pages.
MONTH = f"""
create or replace function {NAME}
language plpgsql stable as $$
declare
    sub record;
    at timestamp := the_moment at time zone 'UTC';
    anchor timestamp;
    began timestamptz;
    months integer;
begin
    select s.interval, s.current_period_start as starts, s.current_period_end as ends,
        s.current_period_start at time zone 'UTC' as first, s.current_period_end at time zone 'UTC' as last,
        least(s.started_at, s.current_period_start) as began into sub
    from subscriptions s
    where s.team_id = the_team and s.status in ({LIVE}) and not s.duplicate
        and s.current_period_start is not null and s.current_period_end is not null;
    if found then
        began := sub.began;
    end if;
    if began <= the_moment and sub.interval = 'month' and sub.starts <= the_moment and the_moment < sub.ends then
        starts := sub.starts;
        ends := sub.ends;
        return;
    end if;
    if began <= the_moment then
        anchor := case
            when sub.first + interval '1 month' = sub.last then sub.first
            when sub.last - interval '1 month' = sub.first then sub.last
            when sub.ends <= the_moment then sub.last
            else sub.first
        end;
    else
        select t.created_at at time zone 'UTC' into anchor from teams t where t.id = the_team;
    end if;
    months := (extract(year from at) - extract(year from anchor)) * 12
        + extract(month from at) - extract(month from anchor);
    if anchor + make_interval(months => months) > at then
        months := months - 1;
    end if;
    starts := (anchor + make_interval(months => months)) at time zone 'UTC';
    ends := (anchor + make_interval(months => months + 1)) at time zone 'UTC';
    if began <= the_moment then
        starts := greatest(starts, began);
    else
        ends := least(ends, began);
    end if;
end $$
"""

BEFORE = f"""
create or replace function {NAME}
language plpgsql stable as $$
declare
    sub record;
    at timestamp := the_moment at time zone 'UTC';
    anchor timestamp;
    months integer;
begin
    select s.interval, s.current_period_start as starts, s.current_period_end as ends into sub from subscriptions s
    where s.team_id = the_team and s.status in ({LIVE}) and not s.duplicate
        and s.current_period_start is not null and s.current_period_end is not null;
    if found and sub.interval = 'month' and sub.starts <= the_moment and the_moment < sub.ends then
        starts := sub.starts;
        ends := sub.ends;
        return;
    end if;
    if found then
        anchor := case when sub.ends <= the_moment then sub.ends else sub.starts end at time zone 'UTC';
    else
        select t.created_at at time zone 'UTC' into anchor from teams t where t.id = the_team;
    end if;
    months := (extract(year from at) - extract(year from anchor)) * 12
        + extract(month from at) - extract(month from anchor);
    if anchor + make_interval(months => months) > at then
        months := months - 1;
    end if;
    starts := (anchor + make_interval(months => months)) at time zone 'UTC';
    ends := (anchor + make_interval(months => months + 1)) at time zone 'UTC';
end $$
"""


def upgrade() -> None:
    op.execute(MONTH)


def downgrade() -> None:
    op.execute(BEFORE)
