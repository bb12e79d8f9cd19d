"""What was spent of each grant on each day, counted off the hot path and once for ever.

A spend writes which lots it drew on and nothing more. The schedule adds those up by lot and day in UTC, from the version it
had come to, in steps, and remembers the version it has come to in the same unit. So a page reads a row a day, however many
spends there were; what is not counted yet follows from what is left of the lot.
"""

from __future__ import annotations

from portal.core.database import send
from portal.core.statements import Statement

ENTRIES_A_STEP = 20_000

NOT_COUNTED = Statement(
    "select a.team_id from credit_accounts a left join credit_progress c on c.team_id = a.team_id"
    " where a.version > coalesce(c.counted_version, 0) and a.team_id > :after order by a.team_id limit :limit"
)
BEGIN = Statement("insert into credit_progress (team_id) values (:team_id) on conflict do nothing")
LOCK = Statement("select counted_version as version from credit_progress where team_id = :team_id for update")
UPTO = Statement(
    "select least(version, cast(:counted as bigint) + :step) as version from credit_accounts where team_id = :team_id"
)
COUNT = Statement(
    "insert into credit_lot_days as known (team_id, grant_id, day, spent)"
    " select e.team_id, c.grant_id, cast(e.at at time zone 'UTC' as date), sum(c.amount)"
    " from credit_entries e join credit_consumptions c on c.entry_id = e.id"
    " where e.team_id = :team_id and e.kind = 'spent' and e.version > :counted and e.version <= :upto"
    " group by 1, 2, 3"
    " on conflict (team_id, grant_id, day) do update set spent = known.spent + excluded.spent"
)
REMEMBER = Statement("update credit_progress set counted_version = :upto where team_id = :team_id")


def not_counted(limit: int, after: str = "") -> list[str]:
    """Teams with entries that are not counted yet, by their ids, from the one after `after`."""
    return [row.team_id for row in send(NOT_COUNTED, limit=limit, after=after)]


def count_lot_days(team_id: str) -> int:
    """Count a step's entries of one team, in the current unit; returns how many entries that were."""
    send(BEGIN, team_id=team_id)
    counted = send(LOCK, team_id=team_id)[0].version
    upto = send(UPTO, team_id=team_id, counted=counted, step=ENTRIES_A_STEP)[0].version
    if upto > counted:
        send(COUNT, team_id=team_id, counted=counted, upto=upto)
        send(REMEMBER, team_id=team_id, upto=upto)
    return int(upto - counted)
