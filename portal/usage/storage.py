"""The statements of metering, each one round trip however many uses there are. For `metering.py` only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from portal.core.clock import APP_NOW
from portal.core.database import send
from portal.core.statements import Statement
from portal.usage.uses import Recorded, Use

CREATED = 200

# What stands under the keys, what the meters cost the team, whether the people are its members, and whether the state of
# its subscription lets anything be used. The lists stand in queries of their own, so that PostgreSQL does not see how long
# they are: for a short one it would think a plan of its own worthwhile every time, and make it under the account's lock.
FIND = Statement(
    f"select {APP_NOW} as now, st.credits_frozen as frozen,"  # noqa: S608  all of it is ours
    " exists (select from usage_budgets b where b.team_id = :team_id and b.action = 'stop') as budgeted,"
    " (select json_object_agg(k.key, json_build_array(k.request_hash, k.status, k.body)) from usage_keys k"
    "  where k.team_id = :team_id and k.key = any(cast((select :keys) as text[]))) as stored,"
    " (select json_object_agg(m.key,"
    "   json_build_array(m.mode, m.cost_credits, coalesce(pm.included, 0), coalesce(pm.overage_per_1000_cents, 0) > 0))"
    "  from meters m left join plan_meters pm on pm.meter_id = m.id and pm.plan_id = st.plan_id"
    "  where m.key = any(cast((select :meters) as text[])) and m.archived_at is null) as meters,"
    " (select json_agg(ms.user_id) from memberships ms"
    "  where ms.team_id = :team_id and ms.user_id = any(cast((select :users) as text[]))) as members"
    " from (values (1)) as one left join team_standing st on st.team_id = :team_id"
)

# What was used of each meter in the month of each moment. Moments mostly lie in one month: sums are made once for it.
USED = Statement(
    "with moments as materialized ("
    "  select asked.meter, asked.at, month.starts, month.ends"
    "  from json_to_recordset(cast(:asked as json)) as asked (meter text, at timestamptz)"
    "  cross join lateral usage_month_of(:team_id, asked.at) month"
    "), months as materialized ("
    "  select meter, starts, coalesce(("
    "    select cast(sum(d.quantity) as bigint) from usage_daily d where d.team_id = :team_id and d.meter = m.meter"
    "    and d.starts_at >= m.starts and d.starts_at < m.ends), 0) as used"
    "  from (select distinct meter, starts, ends from moments) m"
    ")"
    " select moments.meter, moments.at, starts, months.used from moments join months using (meter, starts)"
)

# Its day is looked up once for each moment, of which there is mostly one.
SAVE = Statement(
    "with uses as ("
    "  select * from json_to_recordset(cast(:uses as json)) as u (id text, key text, request_hash text, body text,"
    "    api_key_id text, user_id text, meter text, quantity bigint, cost bigint, entry_id bigint, at timestamptz)"
    "), kept as ("
    "  insert into usage_keys (team_id, key, request_hash, status, body, created_at)"
    "  select :team_id, key, request_hash, :status, body, :now from uses"
    "), recorded as ("
    "  insert into usage_events"
    "    (id, team_id, key, api_key_id, user_id, meter, quantity, cost, entry_id, occurred_at, recorded_at)"
    "  select u.id, :team_id, u.key, u.api_key_id, u.user_id, u.meter, u.quantity, u.cost, u.entry_id, u.at, :now"
    "  from uses u"
    "), days as materialized ("
    "  select at, usage_starts_at(:team_id, at) as starts_at from (select distinct at from uses) moments"
    ")"
    " insert into usage_daily as d (team_id, starts_at, meter, api_key_id, user_id, quantity, cost, events)"
    " select :team_id, days.starts_at, u.meter, coalesce(u.api_key_id, ''), coalesce(u.user_id, ''),"
    "   sum(u.quantity), sum(u.cost), count(*)"
    " from uses u join days using (at) group by 2, 3, 4, 5"
    " on conflict (team_id, starts_at, meter, api_key_id, user_id) do update set"
    "   quantity = d.quantity + excluded.quantity, cost = d.cost + excluded.cost, events = d.events + excluded.events"
)


class Stored(NamedTuple):
    """What was answered under a key."""

    request_hash: str
    status: int
    body: str


class MeterTerms(NamedTuple):
    """What a use of the meter takes: `cost` credits, or some of what the plan includes a month."""

    mode: str
    cost: int | None
    included: int
    more_allowed: bool


@dataclass(frozen=True)
class Found:
    now: datetime
    frozen: bool
    budgeted: bool
    stored: dict[str, Stored]
    meters: dict[str, MeterTerms]
    members: frozenset[str]


def find(team_id: str, uses: Sequence[Use]) -> Found:
    row = send(
        FIND,
        team_id=team_id,
        keys=list({use.key for use in uses}),
        meters=list({use.meter for use in uses}),
        users=list({use.user_id for use in uses if use.user_id is not None}),
    )[0]
    return Found(
        now=row.now,
        frozen=bool(row.frozen),
        budgeted=row.budgeted,
        stored={key: Stored(*values) for key, values in (row.stored or {}).items()},
        meters={key: MeterTerms(*values) for key, values in (row.meters or {}).items()},
        members=frozenset(row.members or ()),
    )


def used_in_month(
    team_id: str, asked: Iterable[tuple[str, datetime]]
) -> dict[tuple[str, datetime], tuple[datetime, int]]:
    """By meter and moment: when the month of it began, and the units that are used of it."""
    wanted = [{"meter": meter, "at": at.isoformat()} for meter, at in asked]
    rows = send(USED, team_id=team_id, asked=json.dumps(wanted)) if wanted else []
    return {(row.meter, row.at): (row.starts, row.used) for row in rows}


def save(team_id: str, made: Sequence[tuple[Recorded, Stored, int | None]], now: datetime) -> None:
    """Write the uses, each with its answer and the id of its entry."""
    uses = [
        {
            "id": recorded.id,
            "key": recorded.use.key,
            "request_hash": kept.request_hash,
            "body": kept.body,
            "api_key_id": recorded.use.api_key_id,
            "user_id": recorded.use.user_id,
            "meter": recorded.use.meter,
            "quantity": recorded.use.quantity,
            "cost": recorded.cost,
            "entry_id": entry_id,
            "at": recorded.occurred_at.isoformat(),
        }
        for recorded, kept, entry_id in made
    ]
    send(SAVE, team_id=team_id, uses=json.dumps(uses), status=CREATED, now=now)
