"""Billing periods."""

from datetime import UTC, datetime

import pytest

from portal.sandbox.periods import add_interval


@pytest.mark.parametrize(
    ("start", "interval", "count", "end"),
    [
        ("2026-01-15", "month", 1, "2026-02-15"),
        ("2026-01-31", "month", 1, "2026-02-28"),
        ("2026-01-31", "month", 2, "2026-03-31"),
        ("2027-12-31", "month", 2, "2028-02-29"),
        ("2028-02-29", "year", 1, "2029-02-28"),
        ("2026-12-05", "month", 1, "2027-01-05"),
        ("2026-03-28", "day", 3, "2026-03-31"),
        ("2026-02-22", "week", 2, "2026-03-08"),
        ("2026-11-30", "month", 3, "2027-02-28"),
    ],
)
def test_periods(start: str, interval: str, count: int, end: str) -> None:
    at, expected = (int(datetime.fromisoformat(day).replace(tzinfo=UTC, hour=13).timestamp()) for day in (start, end))
    assert add_interval(at, interval, count) == expected
