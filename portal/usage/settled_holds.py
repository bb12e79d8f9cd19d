"""What was spent of holds that were for no meter: credits that are used, though no use of any feature stands behind them.

There are no daily totals of them, so they are added up hold by hold by an index that each key's have, and no more of them than
can be read at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.core.database import send
from portal.core.statements import Statement
from portal.usage.figures import EVERYTHING, Narrowed

HOLDS_MAX = 50_000

SETTLED = Statement(
    "select cast(coalesce(sum(settled), 0) as bigint) as credits, count(*) filter (where settled > 0) as holds,"
    " count(*) as closed from ("
    "  select closed.settled from api_keys k cross join lateral ("
    "    select h.settled from credit_holds h where h.api_key_id = k.id and h.meter is null"
    "    and h.closed_at >= :since and h.closed_at < :until limit :most"
    "  ) closed where k.team_id = :team_id and (cast(:api_key_id as text) is null or k.id = :api_key_id) limit :most"
    ") found"
)


@dataclass(frozen=True)
class SettledHolds:
    """How many `holds` were settled by their amount, and for how many `credits`. `more`: there are too many to add up all."""

    holds: int = 0
    credits: int = 0
    more: bool = False


def settled_holds(team_id: str, since: datetime, until: datetime, narrowed: Narrowed = EVERYTHING) -> SettledHolds:
    """Of the time and, where it is narrowed to one, the API key. They are for no meter and for no member."""
    if narrowed.meter is not None or narrowed.user_id or narrowed.api_key_id == "":
        return SettledHolds()
    [row] = send(
        SETTLED,
        team_id=team_id,
        since=since,
        until=until,
        api_key_id=narrowed.api_key_id,
        most=HOLDS_MAX + 1,
    )
    return SettledHolds(row.holds, row.credits, more=row.closed > HOLDS_MAX)
