"""Billing periods in UTC: whole months and years counted from an anchor, so that the 31st comes back after February."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any

from portal.sandbox.errors import invalid


def add_interval(anchor: int, interval: str, count: int) -> int:
    """Return the instant `count` intervals after `anchor`, both in epoch seconds.

    A day that the target month does not have becomes its last day. `interval` is day, week, month or year. Raises the
    400 for an instant beyond the year 9999.
    """
    try:
        return _add(anchor, interval, count)
    except (OverflowError, ValueError) as error:
        raise invalid("A date that follows from this would be beyond the year 9999.") from error


def _add(anchor: int, interval: str, count: int) -> int:
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return int((start + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def period_at(anchor: int, rhythm: dict[str, Any], at: int) -> tuple[int, int]:
    """Return start and end of the period that holds an instant; periods are counted from the anchor in both directions.

    `rhythm` is the `recurring` of a price.
    """
    interval, count = str(rhythm["interval"]), int(rhythm["interval_count"])
    number = 0
    while add_interval(anchor, interval, number * count) > at:
        number -= 1
    while add_interval(anchor, interval, (number + 1) * count) <= at:
        number += 1
    return add_interval(anchor, interval, number * count), add_interval(anchor, interval, (number + 1) * count)
