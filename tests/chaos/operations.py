"""What the clients of the chaos ask of the ledger: a request follows from its number, so that any client can repeat it."""

from __future__ import annotations

import json
import random
from bisect import bisect
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

Request = dict[str, Any]

# What is asked for, and how often beside the others. A batch has many uses, so most operations are in batches.
ACTS = {
    "spend": 24, "use": 16, "batch": 5, "hold": 16, "grant": 12, "reverse": 5, "end_early": 1, "post_due": 2,
}  # fmt: skip
METERS = ("send_email", "analyze_lead", "generate_campaign")
KINDS = ("subscription", "gift", "adjustment", "bundle")
BATCH_MAX = 40
HOT = 0.15
# About how many new requests a client makes for each of its operations: many are repeated, and some are batches.
REQUESTS_EACH = 0.24


@dataclass(frozen=True)
class Plan:
    """`operations` by all `clients` on `teams`, of which the first is the hot one, while `hours` go by since `began`."""

    seed: int
    clients: int
    operations: int
    teams: list[str]
    began: str
    hours: int

    @cached_property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.began)

    @cached_property
    def share(self) -> int:
        """The operations of one client."""
        return -(-self.operations // self.clients)

    @cached_property
    def _zipf(self) -> list[float]:
        return list(accumulate(1 / place for place in range(1, len(self.teams))))

    def team(self, chance: random.Random) -> str:
        """The hot team, or one of the others by Zipf's law."""
        if chance.random() < HOT:
            return self.teams[0]
        return self.teams[1 + bisect(self._zipf, chance.random() * self._zipf[-1])]

    def write(self, folder: Path) -> None:
        (folder / "plan.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        return cls(**json.loads((folder / "plan.json").read_text()))


def request(plan: Plan, client: int, number: int) -> Request:
    """The client's own request of this number, whoever sends it."""
    chance = random.Random(f"{plan.seed}:{client}:{number}")
    act = chance.choices(list(ACTS), list(ACTS.values()))[0]
    asked: Request = {"act": act, "team": plan.team(chance), "key": f"{client}-{number}"}
    match act:
        case "spend":
            asked["amount"] = chance.randint(1, 9)
        case "use":
            asked["uses"] = [_use(chance, asked["key"])]
        case "batch":
            uses = [_use(chance, f"{asked['key']}.{place}") for place in range(chance.randint(2, BATCH_MAX))]
            # Some of a batch may stand in it twice.
            asked["uses"] = uses + chance.sample(uses, len(uses) // 10)
        case "hold":
            asked |= {"amount": chance.randint(1, 60), "minutes": chance.choice((1, 30, 600, 3_000))}
        case "grant":
            asked |= _grant(plan, chance, number)
        case "reverse" | "end_early":
            asked |= _about_a_grant(plan, chance, number)
    return asked


def _use(chance: random.Random, key: str) -> list[Any]:
    return [key, chance.choice(METERS), chance.randint(1, 4)]


def _grant(plan: Plan, chance: random.Random, number: int) -> Request:
    """One of about now, as far as its number tells: some begin later, most end, and many within hours."""
    now = plan.start + timedelta(hours=plan.hours * min(1.0, number % plan.operations / (plan.share * REQUESTS_EACH)))
    begins = now + timedelta(minutes=chance.randint(-240, 240)) if chance.random() < 0.5 else None
    lasts = None if chance.random() < 0.2 else timedelta(minutes=chance.randint(30, 2_400))
    ends = (begins or now) + lasts if lasts else None
    return {
        "kind": chance.choice(KINDS),
        "amount": chance.randint(20, 600),
        "begins": begins and begins.isoformat(),
        "ends": ends and ends.isoformat(),
    }


def _about_a_grant(plan: Plan, chance: random.Random, number: int) -> Request:
    """A grant that somebody asks for about now, and its team."""
    for _ in range(100):
        client, other = chance.randrange(plan.clients), max(1, number % plan.operations - chance.randrange(100))
        found = request(plan, client, other) if _act_of(plan, client, other) == "grant" else None
        if found is not None:
            return {"team": found["team"], "grant": found["key"], "amount": chance.randint(1, found["amount"])}
    return {"act": "post_due"}


def _act_of(plan: Plan, client: int, number: int) -> str:
    chance = random.Random(f"{plan.seed}:{client}:{number}")
    return chance.choices(list(ACTS), list(ACTS.values()))[0]
