"""Uses from before there were months and totals: they are moved forward, added up once, and go on being recorded."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from tests.services import ROOT, DatabaseUrls, Plan, app_environment, connect

TEAM, YEARLY, FREE = "team_1", "team_2", "team_3"

PEOPLE = """
insert into teams (id, name, billing_email, currency, time_zone, created_at) values
    ('team_1', 'One', 'one@x.test', 'usd', 'UTC', '2026-01-05 10:00Z'), ('team_2', 'Two', 'two@x.test', 'usd', 'UTC', '2026-01-05 10:00Z'),
    ('team_3', 'Three', 'three@x.test', 'usd', 'UTC', '2026-01-31 22:30Z');
insert into subscriptions (id, stripe_id, gen, team_id, status, duplicate, interval, currency, started_at, current_period_start,
    current_period_end, synced_at) values
    ('sub_1', 'sub_1', 1, 'team_1', 'active', false, 'month', 'usd', '2026-02-28 12:00Z', '2026-10-31 12:00Z', '2026-11-30 12:00Z', now()),
    ('sub_2', 'sub_2', 1, 'team_2', 'active', false, 'year', 'usd', '2026-03-03 06:00Z', '2026-03-03 06:00Z', '2027-03-03 06:00Z', now());
insert into credit_accounts (team_id) select id from teams;
"""
USE = """
with entry as (
    insert into credit_entries (team_id, version, kind, amount, balance_after, cause_key, spend_order, at)
    select %(team)s, coalesce(max(version), 0) + 1, 'spent', -%(cost)s, 0, 'usage:' || %(key)s, 'expiry', %(at)s
    from credit_entries where team_id = %(team)s returning id
), kept as (
    insert into usage_keys (team_id, key, request_hash, status, body) values (%(team)s, %(key)s, repeat('0', 64), 200, '{}')
)
insert into usage_events (id, team_id, key, meter, quantity, cost, entry_id, occurred_at)
select 'use_' || %(key)s, %(team)s, %(key)s, 'send_email', %(quantity)s, %(cost)s, id, %(at)s from entry
"""
USES = [
    (TEAM, "2026-10-31 11:59:59Z", 1),  # the last of a month of use
    (TEAM, "2026-10-31 12:00:00Z", 2),  # the first of the next
    (TEAM, "2026-10-31 23:59:59Z", 4),
    (TEAM, "2026-11-01 00:00:00Z", 8),
    (YEARLY, "2026-11-03 05:59:59Z", 16),
    (YEARLY, "2026-11-03 06:00:00Z", 32),
    (FREE, "2026-02-28 22:29:59Z", 64),
    (FREE, "2026-02-28 22:30:00Z", 128),
]
TOTALS = [
    (TEAM, "2026-10-31 00:00", 1),
    (TEAM, "2026-10-31 12:00", 6),
    (TEAM, "2026-11-01 00:00", 8),
    (YEARLY, "2026-11-03 00:00", 16),
    (YEARLY, "2026-11-03 06:00", 32),
    (FREE, "2026-02-28 00:00", 64),
    (FREE, "2026-02-28 22:30", 128),
]
TOTALS_BY_START = {(team, starts): quantity for team, starts, quantity in TOTALS}
READ = (
    "select team_id, to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as starts, quantity, cost, events"
    " from usage_daily order by team_id, starts_at"
)


@pytest.fixture
def before(test_plan: Plan) -> Iterator[DatabaseUrls]:
    """A database as the version before left it."""
    name = f"turnpike_test_{test_plan.run}_before_{secrets.token_hex(4)}"
    owner = make_url(test_plan.owner).username or ""
    with connect(test_plan.admin) as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(*map(sql.Identifier, (name, owner))))
        try:
            urls = test_plan.urls(name)
            _migrate(urls, "upgrade", "0025")
            yield urls
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _migrate(urls: DatabaseUrls, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", *words],
        cwd=ROOT,
        env=os.environ | app_environment(urls, "none"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _use(connection: psycopg.Connection, team: str, at: str, quantity: int) -> None:
    key = secrets.token_hex(4)
    psycopg.ClientCursor(connection).execute(
        USE, {"team": team, "at": at, "quantity": quantity, "cost": 2 * quantity, "key": key}
    )


def _totals(connection: psycopg.Connection) -> list[tuple[str, str, int]]:
    rows = connection.cursor(row_factory=dict_row).execute(READ).fetchall()
    assert all(row["cost"] == 2 * row["quantity"] for row in rows)
    return [(row["team_id"], row["starts"], row["quantity"]) for row in rows]


def test_what_was_used_before_is_kept_and_counted(before: DatabaseUrls) -> None:
    with connect(before.owner) as connection:
        connection.execute(PEOPLE)
        for use in USES:
            _use(connection, *use)
        held = connection.execute("select * from usage_events order by id").fetchall()
    _migrate(before, "upgrade")
    columns = "id, team_id, key, api_key_id, meter, quantity, cost, entry_id, occurred_at"
    with connect(before.app) as connection:
        assert connection.execute(f"select {columns} from usage_events order by id").fetchall() == held  # noqa: S608  all of it is ours
        assert _totals(connection) == sorted(TOTALS)
        # The version from before still serves requests: what it records is counted, and has a month to go to.
        _use(connection, TEAM, "2026-11-01 09:00:00Z", 100)
        _use(connection, TEAM, "2031-05-01 09:00:00Z", 200)
        after = TOTALS_BY_START | {(TEAM, "2026-11-01 00:00"): 108, (TEAM, "2031-05-01 00:00"): 200}
        assert {(team, starts): quantity for team, starts, quantity in _totals(connection)} == after
    with connect(before.owner) as connection:
        assert connection.execute("select count(*) from usage_events_rest").fetchone() == (1,)


def test_it_can_be_taken_back_and_done_again(before: DatabaseUrls) -> None:
    with connect(before.owner) as connection:
        connection.execute(PEOPLE)
        for use in USES:
            _use(connection, *use)
    _migrate(before, "upgrade")
    _migrate(before, "downgrade", "0025")
    with connect(before.app) as connection:
        _use(connection, TEAM, "2026-11-01 09:00:00Z", 100)
    _migrate(before, "upgrade")
    with connect(before.app) as connection:
        after = TOTALS_BY_START | {(TEAM, "2026-11-01 00:00"): 108}
        assert {(team, starts): quantity for team, starts, quantity in _totals(connection)} == after
