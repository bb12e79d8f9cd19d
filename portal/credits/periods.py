"""Periods counted from an anchor: pure arithmetic, in UTC.

Period k begins k steps after the anchor itself, never after the period before it. So a month that lacks the anchor's
day ends on its last one, and the next month returns to the anchor's day: 31 January, 28 February, 31 March.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

MONTHS = {"month": 1, "year": 12}

Period = tuple[datetime, datetime]


def period(anchor: datetime, interval: str, k: int) -> Period:
    """The k-th period: its start, and its end, which is the start of the next. `interval` is `month` or `year`."""
    return _step(anchor, interval, k), _step(anchor, interval, k + 1)


def period_containing(anchor: datetime, interval: str, moment: datetime) -> Period:
    """The period that `moment` falls into: start <= moment < end. Before the anchor, `k` counts backwards."""
    start, at = _utc(anchor), _utc(moment)
    months = (at.year - start.year) * 12 + at.month - start.month
    k = months // _months(interval)
    # The day, or the time of day, may not have been reached yet.
    if _step(anchor, interval, k) > at:
        k -= 1
    return period(anchor, interval, k)


def _step(anchor: datetime, interval: str, k: int) -> datetime:
    start = _utc(anchor)
    years, month = divmod(start.month - 1 + k * _months(interval), 12)
    year, month = start.year + years, month + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def _months(interval: str) -> int:
    if interval not in MONTHS:
        raise ValueError(f"an interval is one of {', '.join(MONTHS)}, not {interval!r}")
    return MONTHS[interval]


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a period's times must carry a time zone")
    return moment.astimezone(UTC)
