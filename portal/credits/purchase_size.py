"""How much an auto-purchase buys: enough bundles to close the gap, and never more than the limits leave.

Limits are counted by the day and by the calendar month, both in UTC. Money is in the minor unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.core.times import month_end


@dataclass(frozen=True)
class Limits:
    """How often and for how much money may be bought in a day and in a month."""

    day_count: int
    month_count: int
    day_cents: int
    month_cents: int


@dataclass(frozen=True)
class Bought:
    """What was bought automatically in the day and in the month that are under way, what is under way included."""

    day_count: int = 0
    month_count: int = 0
    day_cents: int = 0
    month_cents: int = 0


@dataclass(frozen=True)
class Size:
    """`bundles` to buy. 0 when a limit leaves none: then `limit` names it (`day` or `month`) and `until` is its end."""

    bundles: int
    limit: str | None = None
    until: datetime | None = None


def bundles_for(gap: int, bundle_credits: int) -> int:
    """The fewest bundles that close a gap of so many credits; at least one."""
    return max(1, -(-gap // bundle_credits))


def size(gap: int, bundle_credits: int, bundle_cents: int, limits: Limits, bought: Bought, now: datetime) -> Size:
    """As many bundles as the gap needs, or as many as the limits leave if that is fewer."""
    month = _room(limits.month_count - bought.month_count, limits.month_cents - bought.month_cents, bundle_cents)
    if not month:
        return Size(0, "month", month_end(now))
    day = _room(limits.day_count - bought.day_count, limits.day_cents - bought.day_cents, bundle_cents)
    if not day:
        return Size(0, "day", day_end(now))
    return Size(min(bundles_for(gap, bundle_credits), month, day))


def _room(purchases_left: int, cents_left: int, bundle_cents: int) -> int:
    """How many bundles one more purchase may have."""
    return max(cents_left, 0) // bundle_cents if purchases_left > 0 else 0


def day_start(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def day_end(now: datetime) -> datetime:
    return day_start(now) + timedelta(days=1)
