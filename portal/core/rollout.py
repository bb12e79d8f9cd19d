"""For which teams something is switched on: all, a share of them that only grows, some by name, or both together."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

PERCENT = re.compile(r"([0-9]{1,3})%")
TEAM = re.compile(r"team_[0-9A-Z]{26}")


@dataclass(frozen=True)
class Rollout:
    """`percent` of all teams (0 to 100) and the `teams` that are named."""

    percent: int = 100
    teams: frozenset[str] = frozenset()

    def includes(self, team_id: str) -> bool:
        """A team's place among a hundred never changes, so growing the share takes no team out."""
        return team_id in self.teams or _place(team_id) < self.percent

    def __str__(self) -> str:
        if self.percent == 100:
            return "all teams"
        named = f"{len(self.teams)} named team" + ("" if len(self.teams) == 1 else "s")
        share = f"{self.percent}% of teams"
        return f"{share} and {named}" if self.percent and self.teams else named if self.teams else share


def read_rollout(text: str) -> Rollout:
    """`all`, or a comma list of team ids and at most one share such as `25%`. Raises `ValueError` saying what is wrong."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or parts == ["all"]:
        return Rollout()
    shares = [part for part in parts if not TEAM.fullmatch(part)]
    percent = _percent(shares[0]) if shares else 0
    if len(shares) > 1:
        raise ValueError(f"{shares[1]!r} is neither a team's id nor the only share")
    return Rollout(percent, frozenset(parts) - frozenset(shares))


def _percent(text: str) -> int:
    found = PERCENT.fullmatch(text)
    if found is None or int(found[1]) > 100:
        raise ValueError(f"{text!r} is neither `all`, a share such as 25%, nor a team's id")
    return int(found[1])


def _place(team_id: str) -> int:
    """0 to 99, the same in every process and for ever."""
    digest = hashlib.sha256(f"rollout:{team_id}".encode()).digest()
    return int.from_bytes(digest[:8]) * 100 >> 64
