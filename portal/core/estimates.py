"""Estimates from the last full days: what they were like, and numbers that do not pretend to be known to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

# The days that a mean is taken of, with which every day of the week is in it once.
SAMPLE_DAYS = 7
SAMPLE_DAYS_MIN = 2
DIGITS = 3


def last_full_days(by_day: Mapping[date, int], now: datetime) -> list[int]:
    """What each of the last full days (in UTC) came to, from the first one with anything on; too few tell nothing: []."""
    today = now.astimezone(UTC).date()
    days = [by_day.get(today - timedelta(days=back), 0) for back in range(SAMPLE_DAYS, 0, -1)]
    while days and not days[0]:
        days.pop(0)
    return days if len(days) >= SAMPLE_DAYS_MIN else []


def mean_of(days: list[int]) -> Decimal:
    return Decimal(sum(days)) / len(days)


def about(number: int) -> int:
    """A number of which only the first digits are kept."""
    step = int(10 ** max(len(str(abs(number))) - DIGITS, 0))
    return whole_of(Decimal(number) / step) * step


def whole_of(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_HALF_UP))
