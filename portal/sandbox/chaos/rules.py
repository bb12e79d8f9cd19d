"""The faults there are, and the rules that say where, when and how often one strikes."""

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from portal.sandbox.errors import invalid
from portal.sandbox.older_versions import OLDER_VERSIONS
from portal.sandbox.parameters import Array, Choice, Hash, Integer, Text

SEED_MAX = 2**31 - 1
RULES_MAX = 50
CALL_FAULTS = {
    "drop_before": "Nothing is done, and the connection ends without an answer",
    "drop_after": "It is done, and the connection ends without an answer",
    "reset": "It is done, and the connection breaks in the middle of the answer",
    "delay": "It is done after a while",
    "conflict": "409: the idempotency key is in use",
    "too_many": "429: too many requests",
    "error_before": "500, nothing is done, and the key keeps this answer",
    "error_after": "500, it is done, and the key keeps this answer",
}
EVENT_FAULTS = {
    "duplicate": "Sent again after it was taken",
    "delay": "Sent after a while",
    "reorder": "Sent only after the next event that is taken",
    "drop": "Lost on the way, as often as the count says; then it is tried again",
    "old_version": "Told in the words of an older API version",
    "thin": "Told as a thin event",
}
FAULTS = {"calls": CALL_FAULTS, "events": EVENT_FAULTS}
FAULT_NAMES = tuple(dict.fromkeys([*CALL_FAULTS, *EVENT_FAULTS]))
_DEFAULT_MILLISECONDS = {"delay": 1000, "reorder": 3000}
RULE = {
    "place": Choice(options=tuple(FAULTS), required=True),
    "fault": Choice(options=FAULT_NAMES, required=True),
    "match": Text(max_length=200),
    "skip": Integer(minimum=0, maximum=1_000_000),
    "times": Integer(minimum=1, maximum=1_000_000, unsettable=True),
    "chance": Integer(minimum=1, maximum=100),
    "milliseconds": Integer(minimum=0, maximum=600_000, unsettable=True),
    "count": Integer(minimum=1, maximum=1000, unsettable=True),
    "api_version": Choice(options=OLDER_VERSIONS, unsettable=True),
}
# What `/_sandbox/chaos` and SANDBOX_CHAOS take.
SETTINGS = {
    "seed": Integer(minimum=0, maximum=SEED_MAX),
    "rate_limit": Integer(minimum=0, maximum=1_000_000),
    "rules": Array(item=Hash(fields=RULE), max_items=RULES_MAX),
}


@dataclass(frozen=True)
class Rule:
    """One fault. `match` is a pattern of `METHOD /path` or of an event's type, with `*` for anything.

    Of what matches, the first `skip` pass; then it strikes `chance` of 100, at most `times` times. `count` is how many
    more copies `duplicate` sends and how many tries `drop` loses.
    """

    place: str
    fault: str
    match: str = "*"
    skip: int = 0
    times: int | None = None
    chance: int = 100
    milliseconds: int = 0
    count: int = 1
    api_version: str = OLDER_VERSIONS[-1]

    def matches(self, subject: str) -> bool:
        """Say whether the rule is about this call or type of event."""
        return fnmatchcase(subject, self.match)

    def strikes(self, seed: int, number: int, met: int, struck: int) -> bool:
        """Say whether the rule with this number strikes what it has met `met` times, this time included.

        The dice are a hash of all that: the same seed and the same order of requests give the same faults.
        """
        if met <= self.skip or (self.times is not None and struck >= self.times):
            return False
        return draw(seed, number, met) < self.chance


def draw(seed: int, number: int, met: int) -> int:
    """Return a number from 0 to 99 that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}:{number}:{met}".encode()).digest()
    return int.from_bytes(digest[:8]) % 100


def rule_of(values: dict[str, Any]) -> Rule:
    """Return the rule that parsed values describe, or raise the 400 that says why there is none."""
    given = {name: value for name, value in values.items() if value is not None}
    known = FAULTS[given["place"]]
    if given["fault"] not in known:
        raise invalid(f"The fault of {given['place']} is one of {', '.join(known)}.", "fault")
    defaults: dict[str, Any] = {"milliseconds": _DEFAULT_MILLISECONDS.get(given["fault"], 0)}
    return Rule(**(defaults | given))
