"""Why a team owes credits: which takings-back could not be covered, less what was repaid since, the oldest first."""

from __future__ import annotations

from dataclasses import dataclass

from portal.core.database import send
from portal.core.statements import Statement
from portal.credits.undo_words import Reason, reasons

# What each reversal found nothing to take for, the newest first. Few entries are reversals, and they have an index.
UNCOVERED = Statement(
    "select e.cause_key, -e.amount - coalesce((select cast(sum(c.amount) as bigint) from credit_consumptions c"
    "   where c.entry_id = e.id), 0) as owed"
    " from credit_entries e where e.team_id = :team_id and e.grant_id is not null and e.kind = 'reversed'"
    " order by e.version desc limit :limit"
)
REVERSALS_MAX = 200


@dataclass(frozen=True)
class Owed:
    """`credits` are still owed for one reason; None where there is none to be told."""

    credits: int
    reason: Reason | None


def owed(team_id: str, debt: int) -> list[Owed]:
    """The parts of a debt, the newest first. What was repaid was the oldest, so the newest reversals make up what is left."""
    if not debt:
        return []
    parts: list[tuple[str, int]] = []
    for row in send(UNCOVERED, team_id=team_id, limit=REVERSALS_MAX):
        if debt <= 0:
            break
        if row.owed:
            parts.append((row.cause_key, min(row.owed, debt)))
            debt -= row.owed
    why = reasons(team_id, [cause for cause, _credits in parts])
    return [Owed(amount, why.get(cause)) for cause, amount in parts]
