"""A team's month of use ends with its subscription, too.

Once a plan had ended, the month was counted from the team's creation again and reached back into the plan's time: what had
been paid under the plan counted against what the free plan includes, and was refused for the rest of that month. The month
ends with the subscription now, and the time of a subscription that has ended stays in the months that it had then.

Only the function is replaced. Days that were counted stay where they are.
"""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"

LIVE = "'trialing', 'active', 'past_due', 'unpaid', 'paused'"
NAME = "usage_month_of(the_team text, the_moment timestamptz, out starts timestamptz, out ends timestamptz)"

# The times in which a subscription had the team's place.
HELD = f"""
    select s.interval, s.current_period_start as starts, s.current_period_end as ends,
        s.current_period_start at time zone 'UTC' as first, s.current_period_end at time zone 'UTC' as last,
        least(s.started_at, s.current_period_start) as began,
        case when s.status in ({LIVE}) then 'infinity'::timestamptz else s.ended_at end as over
    from subscriptions s
    where s.team_id = the_team and (s.status in ({LIVE}) or s.status = 'canceled' and s.ended_at is not null)
        and not s.duplicate and s.current_period_start is not null and s.current_period_end is not null
"""

MONTH = f"""
create or replace function {NAME}
language plpgsql stable as $$
declare
    sub record;
    at timestamp := the_moment at time zone 'UTC';
    anchor timestamp;
    months integer;
    since timestamptz;
    until timestamptz;
begin
    select * into sub from ({HELD}) held
    where held.began <= the_moment and the_moment < held.over
    order by held.began desc limit 1;
    if found then
        since := sub.began;
        until := sub.over;
        anchor := case
            when sub.first + interval '1 month' = sub.last then sub.first
            when sub.last - interval '1 month' = sub.first then sub.last
            when sub.ends <= the_moment then sub.last
            else sub.first
        end;
    else
        select max(held.over) filter (where held.over <= the_moment), min(held.began) filter (where held.began > the_moment)
        into since, until from ({HELD}) held;
        select t.created_at at time zone 'UTC' into anchor from teams t where t.id = the_team;
    end if;
    if sub.interval = 'month' and sub.starts <= the_moment and the_moment < sub.ends then
        starts := sub.starts;
        ends := sub.ends;
    else
        months := (extract(year from at) - extract(year from anchor)) * 12
            + extract(month from at) - extract(month from anchor);
        if anchor + make_interval(months => months) > at then
            months := months - 1;
        end if;
        starts := (anchor + make_interval(months => months)) at time zone 'UTC';
        ends := (anchor + make_interval(months => months + 1)) at time zone 'UTC';
    end if;
    starts := greatest(starts, since);
    ends := least(ends, until);
end $$
"""

BEFORE = f"""
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


def upgrade() -> None:
    op.execute(MONTH)


def downgrade() -> None:
    op.execute(BEFORE)
