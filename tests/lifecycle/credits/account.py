"""One team's account as its rows tell it, and a clock that stands still where a test puts it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from portal.accounts.models import Team
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests import services
from tests.services import connect

# A second `app_now()` in a schema of its own, and a second offset for statements that write it out: transactions that
# put the schema on their path see the test's time.
STILL_CLOCK = """
create schema if not exists still_clock;
create or replace function still_clock.app_now() returns timestamptz language sql stable as $$
    select current_setting('still_clock.now')::timestamptz
$$;
create or replace view still_clock.clock_offset as
    select current_setting('still_clock.now')::timestamptz - statement_timestamp() as ahead_by;
grant usage on schema still_clock to public;
grant select on still_clock.clock_offset to public
"""

STAND_STILL = text(
    "select set_config('search_path', 'still_clock, public', :in_this_transaction),"
    " set_config('still_clock.now', :moment, :in_this_transaction)"
)

READ = """
select row_to_json(a) as account,
    (select json_agg(json_build_object('key', cause_key, 'id', id, 'remaining', remaining, 'frozen', frozen, 'state', state,
        'held', held) order by id)
        from credit_grants where team_id = a.team_id) as grants,
    (select json_agg(json_build_object('id', e.id, 'kind', e.kind, 'amount', e.amount, 'key', e.cause_key, 'version', e.version,
            'balance', e.balance_after, 'at', extract(epoch from e.at), 'used',
            (select json_object_agg(c.grant_id, c.amount) from credit_consumptions c where c.entry_id = e.id))
            order by e.version)
        from credit_entries e where e.team_id = a.team_id and e.version > :known) as entries,
    (select json_agg(json_build_object('id', h.id, 'state', h.state, 'amount', h.amount, 'settled', h.settled, 'lots',
            (select json_object_agg(p.grant_id, json_build_array(p.amount, p.repaid))
                from credit_hold_lots p where p.hold_id = h.id)) order by h.id)
        from credit_holds h where h.team_id = a.team_id) as holds
from credit_accounts a where a.team_id = :team_id
"""
PLAIN_READ = re.sub(r":([a-z_]+)", r"%(\1)s", READ).encode()


def make_still_clock(owner_url: str) -> None:
    with connect(owner_url) as connection:
        connection.execute(STILL_CLOCK)


@contextmanager
def unit_at(moment: datetime) -> Iterator[Session]:
    """A unit of work in which it is exactly `moment`."""
    with unit_of_work() as session:
        session.execute(STAND_STILL, {"moment": moment.isoformat(), "in_this_transaction": True})
        yield session


@contextmanager
def one_connection() -> Iterator[None]:
    """Every unit of work inside has the same connection, so that what `stand_still` sets there lasts."""
    services.close_connections()
    try:
        yield
    finally:
        services.close_connections()


def stand_still(moment: datetime) -> None:
    """From here on it is exactly `moment` in all units of `one_connection`."""
    with unit_of_work() as session:
        session.execute(STAND_STILL, {"moment": moment.isoformat(), "in_this_transaction": False})


def new_team() -> str:
    with unit_of_work() as session:
        team = Team(name="Ledger", billing_email="ledger@example.com", currency="usd", time_zone="UTC")
        session.add(team)
    db.session.remove()
    return team.id


@dataclass
class Rows:
    account: dict[str, Any]
    grants: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    holds: list[dict[str, Any]]


def read_rows(team_id: str, known: int = 0) -> Rows | None:
    """The account's rows; of the entries only those after version `known`. `used` names lots by their cause key, and so
    does `lots` of a hold, with what is held of each and what of that was repaid.
    """
    row = db.session.execute(text(READ), {"team_id": team_id, "known": known}).one_or_none()
    return None if row is None else _rows(*row)


def committed_rows(connection: psycopg.Connection, team_id: str, known: int) -> Rows | None:
    """The same, as anybody else sees it at this moment: on a connection of its own, on which each read stands alone."""
    row = connection.execute(PLAIN_READ, {"team_id": team_id, "known": known}).fetchone()
    return None if row is None else _rows(*row)


Json = list[dict[str, Any]] | None


def _rows(account: dict[str, Any], grants: Json, entries: Json, holds: Json) -> Rows:
    grants, entries, holds = grants or [], entries or [], holds or []
    keys = {grant["id"]: grant["key"] for grant in grants}
    for entry in entries:
        entry["used"] = Counter({keys[int(grant_id)]: amount for grant_id, amount in (entry["used"] or {}).items()})
        if entry["key"].startswith("expire:grant:"):
            entry["key"] = "expire:" + keys[int(entry["key"].removeprefix("expire:grant:"))]
        if entry["key"].startswith("expire:thaw:grant:"):
            entry["key"] = "expire:thaw:" + keys[int(entry["key"].removeprefix("expire:thaw:grant:"))]
    for hold in holds:
        hold["lots"] = {keys[int(grant_id)]: tuple(amounts) for grant_id, amounts in hold["lots"].items()}
    return Rows(account, grants, entries, holds)
