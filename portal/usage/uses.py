"""What is reported, what comes of it, and why it may be refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# How old a report may be, and how far the clock of its reporter may be ahead of ours; as Stripe's own meters have it.
LATE_MAX = timedelta(days=35)
AHEAD_MAX = timedelta(minutes=5)


class MeteringError(Exception):
    """The parent of what metering refuses. Nothing was recorded."""


class KeyReused(MeteringError):
    """The key stands for another use already."""


class UnknownMeter(MeteringError):
    """There is no meter of this name."""


class UnknownMember(MeteringError):
    """The person is no member of the team."""


class OutOfTime(MeteringError):
    """The use is too old to be counted, or has not happened yet."""


class CreditsFrozen(MeteringError):
    """The state of the team's subscription lets nothing be used."""


class IncludedUsedUp(MeteringError):
    """The plan includes `included` units a month, of which `used` are gone, and sells no more of them."""

    def __init__(self, included: int, used: int) -> None:
        super().__init__(f"{used} of {included} are used, and there are no more")
        self.included, self.used = included, used


class BudgetExceeded(MeteringError):
    """The budget of an `api_key` or a `member` for the month of the use stops it; all three figures are in units of `meter`, or
    without one in credits.

    `unmarked`: the first one that this budget refuses in the month, under this fact (`budgets.mark_refused`).
    """

    def __init__(
        self, kind: str, limit: int, used: int, takes: int, unmarked: str = "", meter: str | None = None
    ) -> None:
        super().__init__(f"{takes} more would go beyond the {kind}'s budget of {limit}, of which {used} are used")
        self.kind, self.limit, self.used, self.takes, self.unmarked = kind, limit, used, takes, unmarked
        self.meter = meter


@dataclass(frozen=True, slots=True)
class Use:
    """A report of use. `key` is the reporter's name for it; `api_key_id` says which key of the API it came with.

    `user_id` is the member who used it, if the reporter says so, and `occurred_at` when that was, if not now.
    """

    team_id: str
    key: str
    meter: str
    quantity: int
    api_key_id: str | None = None
    user_id: str | None = None
    occurred_at: datetime | None = None

    @property
    def request_hash(self) -> str:
        """What makes two reports the same one."""
        content: dict[str, object] = {"meter": self.meter, "quantity": self.quantity}
        if self.user_id is not None:
            content["user"] = self.user_id
        if self.occurred_at is not None:
            content["occurred_at"] = self.occurred_at.astimezone(UTC).isoformat()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A use that is in the books since `at`. `cost`, `balance` (what was left) and `available` (what of it could be spent, the
    rest being held) are in credits.

    A metered use costs none and has neither. Where its plan sells no more than it includes, `used` is what is used
    of `included` in the month, with this use.
    """

    id: str
    use: Use
    cost: int
    balance: int | None
    at: datetime
    occurred_at: datetime
    included: int | None = None
    used: int | None = None
    available: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    replayed: bool
