"""What was told of thresholds: each once for ever, whoever looks and however often."""

from __future__ import annotations

from collections.abc import Sequence

from portal.core.database import send
from portal.core.statements import Statement

# What is told of a month's credits, of what a plan includes, and of budgets.
PERCENTS = (75, 90, 100)

MARK = Statement(
    "insert into threshold_notices (team_id, fact) select :team_id, unnest(cast(:facts as text[]))"
    " on conflict do nothing returning fact"
)


def mark_told(team_id: str, facts: Sequence[str]) -> set[str]:
    """Keep that these are told, in the current unit; returns those that were not yet."""
    return {row.fact for row in send(MARK, team_id=team_id, facts=list(facts))} if facts else set()


def newly_reached(team_id: str, fact: str, part: int, whole: int) -> int | None:
    """The highest of `PERCENTS` that `part` of `whole` has reached, if it was not told; the lower ones count as told."""
    reached = [percent for percent in PERCENTS if whole > 0 and part * 100 >= percent * whole]
    new = mark_told(team_id, [f"{fact}:{percent}" for percent in reached])
    return reached[-1] if reached and f"{fact}:{reached[-1]}" in new else None


def news_of(team_id: str, fact: str) -> str:
    """The fact by which a person is told: somebody may be in two teams of which the same is true."""
    return f"{fact}:{team_id}"
