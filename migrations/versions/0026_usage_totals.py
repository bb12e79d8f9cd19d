"""Uses by month, and their daily totals.

`usage_events` becomes partitioned by month. The table that is there becomes the first partition as it stands: whatever
takes long (an index, a check, the proof that all of its rows are of its time) is done before, beside the running
application, so that the exchange itself only changes catalogs. `usage_daily` is kept in the same unit as each event; what
was recorded before is added up by the next migration, and what a version of the application from before this one still
records is counted by a trigger, which knows it by the missing `recorded_at`.

The application's role makes and drops no tables. It calls two functions of the owner's, which can do just that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)

LIVE = "'trialing', 'active', 'past_due', 'unpaid', 'paused'"

CHECKS = {
    "quantity": "quantity > 0",
    "cost": "cost >= 0",
    "entry_id": "(cost = 0) = (entry_id is null)",
}
INDEXES = {
    "ix_usage_events_team_id_key": "(team_id, key)",
    "ix_usage_events_team_id_occurred_at": "(team_id, occurred_at)",
}

# A team's month of use, by the rule that `usage/periods.py` has for the pages.
MONTH = f"""
create function usage_month_of(the_team text, the_moment timestamptz, out starts timestamptz, out ends timestamptz)
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

# The later of the start of the day and that of the month. A day that has been split already stays split as it was, for
# what is reported late.
STARTS_AT = """
create function usage_starts_at(the_team text, the_moment timestamptz) returns timestamptz language plpgsql stable as $$
declare
    day timestamptz := date_trunc('day', the_moment at time zone 'UTC') at time zone 'UTC';
    month timestamptz;
    split timestamptz;
begin
    select m.starts into month from usage_month_of(the_team, the_moment) m;
    select max(d.starts_at) into split from usage_daily d
    where d.team_id = the_team and d.starts_at > day and d.starts_at <= the_moment;
    return greatest(day, month, split);
end $$
"""

COUNT = """
create function count_use_of_before() returns trigger language plpgsql as $$
begin
    new.recorded_at := app_now();
    insert into usage_daily as d (team_id, starts_at, meter, api_key_id, user_id, quantity, cost, events)
    values (new.team_id, usage_starts_at(new.team_id, new.occurred_at), new.meter, coalesce(new.api_key_id, ''),
        coalesce(new.user_id, ''), new.quantity, new.cost, 1)
    on conflict (team_id, starts_at, meter, api_key_id, user_id) do update set
        quantity = d.quantity + excluded.quantity, cost = d.cost + excluded.cost, events = d.events + 1;
    return new;
end $$
"""

# The months that are there; a `since` of null is the beginning of time.
PARTS = """
create function usage_partitions() returns table (part text, since timestamptz, until timestamptz)
language sql stable as $$
    select c.relname::text,
        cast((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''([^'']+)''\\)'))[1] as timestamptz),
        cast((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)'))[1] as timestamptz)
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.usage_events'::regclass and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
$$
"""

# Both give way to running work: before PostgreSQL would look for a deadlock they give up, and are tried again later.

# From the oldest use that had no month's table to go to until three months from now. A table is filled before it
# becomes a partition, so that what waits in the rest goes to its place in the same moment.
MAKE = """
create function make_usage_partitions() returns integer language plpgsql security definer
set search_path = pg_catalog, public, pg_temp set timezone = 'UTC' set lock_timeout = '500ms' as $$
declare
    month timestamptz;
    following timestamptz;
    name text;
    made integer := 0;
begin
    -- Two at once take turns.
    perform pg_advisory_xact_lock(7305119);
    select date_trunc('month', least(app_now(), min(occurred_at))) into month from public.usage_events_rest;
    while month <= app_now() + interval '3 months' loop
        following := month + interval '1 month';
        if not exists (
            select from public.usage_partitions() p
            where (p.since is null or p.since <= month) and p.until > month
        ) then
            name := 'usage_events_' || to_char(month, 'YYYY_MM');
            execute format('create table public.%I (like public.usage_events including all)', name);
            execute format(
                'create trigger %I before truncate on public.%I for each statement execute function public.refuse_change()',
                name || '_no_truncate', name
            );
            if exists (select from public.usage_events_rest where occurred_at >= month and occurred_at < following) then
                alter table public.usage_events_rest disable trigger user;
                execute format(
                    'insert into public.%I select * from public.usage_events_rest where occurred_at >= $1 and occurred_at < $2',
                    name
                ) using month, following;
                delete from public.usage_events_rest where occurred_at >= month and occurred_at < following;
                alter table public.usage_events_rest enable trigger user;
            end if;
            execute format(
                'alter table public.usage_events attach partition public.%I for values from (%L) to (%L)',
                name, month, following
            );
            made := made + 1;
        end if;
        month := following;
    end loop;
    return made;
end $$
"""

# Never what is younger than ninety days, whatever is asked for.
DROP = """
create function drop_usage_partitions(before timestamptz) returns text[] language plpgsql security definer
set search_path = pg_catalog, public, pg_temp set timezone = 'UTC' set lock_timeout = '500ms' as $$
declare
    found record;
    dropped text[] := '{}';
begin
    for found in
        select p.part from public.usage_partitions() p
        where p.until <= least(before, app_now() - interval '90 days') order by p.until
    loop
        execute format('drop table public.%I', found.part);
        dropped := dropped || found.part;
    end loop;
    return dropped;
end $$
"""

SHRINKS = (
    "new.quantity < old.quantity or new.cost < old.cost or new.events <= old.events or"
    " (new.team_id, new.starts_at, new.meter, new.api_key_id, new.user_id)"
    " is distinct from (old.team_id, old.starts_at, old.meter, old.api_key_id, old.user_id)"
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _widen()
        _index_beside()
        until = _bound()
    op.execute("set lock_timeout = '4s'")
    _exchange(until)
    _daily()
    for function in (MONTH, STARTS_AT, COUNT, PARTS, MAKE, DROP):
        op.execute(function)
    for function in ("make_usage_partitions()", "drop_usage_partitions(timestamptz)"):
        op.execute(f"revoke all on function {function} from public")
    _guard()
    op.execute("select make_usage_partitions()")


def _widen() -> None:
    """New columns are empty; rules are proved beside the running application. All of it can be done again."""
    op.execute("set lock_timeout = '4s'")
    op.execute('alter table usage_events add column if not exists user_id varchar collate "C"')
    op.execute("alter table usage_events add column if not exists recorded_at timestamptz")
    op.execute("alter table usage_events alter column entry_id drop not null")
    for name, rule in CHECKS.items():
        _rule(f"ck_usage_events_{name}", f"check ({rule})")
    _rule("fk_usage_events_user_id", "foreign key (user_id) references users (id)")


def _rule(name: str, rule: str) -> None:
    op.execute(f"alter table usage_events drop constraint if exists {name}, add constraint {name} {rule} not valid")
    op.execute(f"alter table usage_events validate constraint {name}")


def _index_beside() -> None:
    """A partition's indexes are those of the whole: none of them is unique without the time."""
    op.execute("set lock_timeout = 0")  # it waits for the readers of a table, and nobody waits for it
    op.execute("drop index concurrently if exists uq_usage_events_first")
    op.execute("create unique index concurrently uq_usage_events_first on usage_events (id, occurred_at)")
    op.execute("drop index concurrently if exists ix_usage_events_team_id_key")
    op.execute("create index concurrently ix_usage_events_team_id_key on usage_events (team_id, key)")


def _bound() -> str:
    """The end of a month that no use recorded now will pass, proved to be after all that is there."""
    query = (
        "select to_char(date_trunc('month', (greatest(app_now(), max(occurred_at)) + interval '1 day')"
        " at time zone 'UTC') + interval '1 month', 'YYYY-MM-DD\"T00:00:00+00:00\"') from usage_events"
    )
    until = str(op.get_bind().execute(sa.text(query)).scalar_one())
    op.execute("set lock_timeout = '4s'")
    _rule("usage_events_bound", f"check (occurred_at < '{until}')")
    return until


def _exchange(until: str) -> None:
    op.execute("lock table usage_events in access exclusive mode")
    for trigger in ("append_only", "no_truncate"):
        op.execute(f"drop trigger usage_events_{trigger} on usage_events")
    op.execute("alter table usage_events drop constraint fk_usage_events_team_id")  # the key's row says it
    op.execute("alter table usage_events drop constraint pk_usage_events")
    for index in ("uq_usage_events_team_id_key", "uq_usage_events_team_id_entry_id"):
        op.execute(f"drop index {index}")  # keys are unique in usage_keys, and entries by their causes
    op.execute(
        "alter table usage_events add constraint pk_usage_events_first primary key using index uq_usage_events_first"
    )
    op.execute("alter table usage_events rename to usage_events_first")
    for index in INDEXES:
        op.execute(f"alter index {index} rename to {index.replace('events', 'events_first', 1)}")
    _events()
    op.execute(
        f"alter table usage_events attach partition usage_events_first for values from (minvalue) to ('{until}')"
    )
    op.execute("alter table usage_events_first drop constraint usage_events_bound")
    op.execute("create table usage_events_rest partition of usage_events default")
    for table in ("usage_events_first", "usage_events_rest"):
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table}"
            " for each statement execute function refuse_change()"
        )


def _events() -> None:
    op.create_table(
        "usage_events",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("key", PREFIXED_ID, nullable=False),
        sa.Column("api_key_id", PREFIXED_ID, nullable=True),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=True),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=True),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_usage_events_{name}")) for name, rule in CHECKS.items()),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_usage_events_api_key_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_usage_events_user_id")),
        sa.ForeignKeyConstraint(
            ["team_id", "key"], ["usage_keys.team_id", "usage_keys.key"], name=op.f("fk_usage_events_team_id_key")
        ),
        sa.ForeignKeyConstraint(
            ["team_id", "entry_id"],
            ["credit_entries.team_id", "credit_entries.id"],
            name=op.f("fk_usage_events_team_id_entry_id"),
        ),
        sa.PrimaryKeyConstraint("id", "occurred_at", name=op.f("pk_usage_events")),
        postgresql_partition_by="range (occurred_at)",
    )
    for name, columns in INDEXES.items():
        op.execute(f"create index {name} on usage_events {columns}")


def _daily() -> None:
    op.create_table(
        "usage_daily",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("api_key_id", PREFIXED_ID, server_default="", nullable=False),
        sa.Column("user_id", PREFIXED_ID, server_default="", nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_usage_daily_quantity")),
        sa.CheckConstraint("cost >= 0", name=op.f("ck_usage_daily_cost")),
        sa.CheckConstraint("events > 0", name=op.f("ck_usage_daily_events")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_usage_daily_team_id")),
        sa.PrimaryKeyConstraint("team_id", "starts_at", "meter", "api_key_id", "user_id", name=op.f("pk_usage_daily")),
        postgresql_with={"fillfactor": 50},
    )


def _guard() -> None:
    for name, when in (("append_only", "update or delete"), ("no_truncate", "truncate")):
        each = "statement" if name == "no_truncate" else "row"
        op.execute(
            f"create trigger usage_events_{name} before {when} on usage_events"
            f" for each {each} execute function refuse_change()"
        )
    op.execute(
        "create trigger usage_events_count before insert on usage_events for each row"
        " when (new.recorded_at is null) execute function count_use_of_before()"
    )
    op.execute(
        f"create trigger usage_daily_grows before update on usage_daily for each row when ({SHRINKS})"
        " execute function refuse_change()"
    )
    op.execute(
        "create trigger usage_daily_no_delete before delete on usage_daily"
        " for each row execute function refuse_change()"
    )
    op.execute(
        "create trigger usage_daily_no_truncate before truncate on usage_daily"
        " for each statement execute function refuse_change()"
    )


def downgrade() -> None:
    """One table again, without what it could not hold: uses that took no credits."""
    op.execute("drop trigger usage_events_count on usage_events")
    op.execute("alter table usage_events rename to usage_events_parted")
    op.execute("create table usage_events as select * from usage_events_parted where cost > 0")
    op.execute("drop table usage_events_parted")
    for function in (
        "count_use_of_before()",
        "usage_starts_at(text, timestamptz)",
        "usage_month_of(text, timestamptz)",
        "make_usage_partitions()",
        "drop_usage_partitions(timestamptz)",
        "usage_partitions()",
    ):
        op.execute(f"drop function {function}")
    op.drop_table("usage_daily")
    for column in ("user_id", "recorded_at"):
        op.drop_column("usage_events", column)
    _as_before()


def _as_before() -> None:
    op.create_primary_key("pk_usage_events", "usage_events", ["id"])
    for column in ("team_id", "key", "meter", "quantity", "cost", "entry_id", "occurred_at"):
        op.alter_column("usage_events", column, nullable=False)
    for name, rule in (("quantity", "quantity > 0"), ("cost", "cost > 0")):
        op.create_check_constraint(op.f(f"ck_usage_events_{name}"), "usage_events", rule)
    for columns, there in (
        (["team_id"], "teams (id)"),
        (["api_key_id"], "api_keys (id)"),
        (["team_id", "key"], "usage_keys (team_id, key)"),
        (["team_id", "entry_id"], "credit_entries (team_id, id)"),
    ):
        name = "fk_usage_events_" + "_".join(columns)
        op.execute(
            f"alter table usage_events add constraint {name} foreign key ({', '.join(columns)}) references {there}"
        )
    op.create_index("uq_usage_events_team_id_key", "usage_events", ["team_id", "key"], unique=True)
    op.create_index("uq_usage_events_team_id_entry_id", "usage_events", ["team_id", "entry_id"], unique=True)
    op.create_index("ix_usage_events_team_id_occurred_at", "usage_events", ["team_id", "occurred_at"])
    for name, when in (("append_only", "update or delete"), ("no_truncate", "truncate")):
        each = "statement" if name == "no_truncate" else "row"
        op.execute(
            f"create trigger usage_events_{name} before {when} on usage_events"
            f" for each {each} execute function refuse_change()"
        )
