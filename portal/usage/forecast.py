"""What a period will come to, from the last full days: an estimate that names its basis, and a range around it.

Whole numbers and decimals only. The range is that of eight in ten cases, if days go on to differ from their mean as they did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from portal.core.estimates import about, mean_of, whole_of

# Of a normal distribution, eight in ten lie within so many standard deviations.
EIGHT_IN_TEN = Decimal("1.2816")
DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Forecast:
    """About `total` at `until`, likely between `low` and `high`: `used` so far and `per_day` for the `days_left`."""

    used: int
    per_day: int
    sample_days: int
    days_left: Decimal
    more: int
    total: int
    low: int
    high: int
    until: datetime


def forecast(days: list[int], used: int, now: datetime, until: datetime) -> Forecast | None:
    """`days` are the last full ones; None without any, or when the time is over."""
    left = Decimal(max(int((until - now).total_seconds()), 0)) / DAY_SECONDS
    if not days or not left:
        return None
    mean = mean_of(days)
    more = mean * left
    spread = EIGHT_IN_TEN * (_variance(days, mean) * left).sqrt()
    total = max(about(whole_of(used + more)), used)
    return Forecast(
        used=used,
        per_day=whole_of(mean),
        sample_days=len(days),
        days_left=left.quantize(Decimal("0.1"), ROUND_HALF_UP),
        more=whole_of(more),
        total=total,
        low=max(about(whole_of(used + more - spread)), used),
        # Numbers are rounded, what is used is not: without this the range would lie below it.
        high=max(about(whole_of(used + more + spread)), total),
        until=until,
    )


def _variance(days: list[int], mean: Decimal) -> Decimal:
    return sum(((day - mean) ** 2 for day in days), Decimal()) / (len(days) - 1)
