"""Periods counted from an anchor: gapless, and back on the anchor's day after every short month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.credits.periods import period, period_containing

ANCHORS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware
INTERVALS = st.sampled_from(["month", "year"])


def day(year: int, month: int, number: int, hour: int = 0) -> datetime:
    return datetime(year, month, number, hour, tzinfo=UTC)


@given(ANCHORS, INTERVALS, st.integers(-600, 600))
def test_periods_follow_one_another_without_a_gap(anchor: datetime, interval: str, k: int) -> None:
    start, end = period(anchor, interval, k)
    assert start < end
    assert period(anchor, interval, k + 1)[0] == end


@given(ANCHORS, INTERVALS, st.integers(-100, 100))
def test_a_period_begins_on_the_anchors_day_or_the_months_last(anchor: datetime, interval: str, k: int) -> None:
    start, _ = period(anchor, interval, k)
    assert start.time() == anchor.time()
    assert start.day == anchor.day or (start.day < anchor.day and (start + timedelta(days=1)).day == 1)


@given(ANCHORS, INTERVALS, st.datetimes(datetime(1950, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  made aware by the strategy
def test_every_moment_lies_in_the_period_that_contains_it(anchor: datetime, interval: str, moment: datetime) -> None:
    start, end = period_containing(anchor, interval, moment)
    assert start <= moment < end


@given(ANCHORS, INTERVALS, st.integers(-100, 100))
def test_a_period_contains_its_start_and_not_its_end(anchor: datetime, interval: str, k: int) -> None:
    start, end = period(anchor, interval, k)
    assert period_containing(anchor, interval, start) == (start, end)
    assert period_containing(anchor, interval, end - timedelta(microseconds=1)) == (start, end)
    assert period_containing(anchor, interval, end)[0] == end


@pytest.mark.parametrize(
    ("anchor", "interval", "starts"),
    [
        (day(2026, 1, 31), "month", [day(2026, 1, 31), day(2026, 2, 28), day(2026, 3, 31), day(2026, 4, 30)]),
        (day(2028, 1, 30), "month", [day(2028, 1, 30), day(2028, 2, 29), day(2028, 3, 30), day(2028, 4, 30)]),
        (day(2027, 1, 29), "month", [day(2027, 1, 29), day(2027, 2, 28), day(2027, 3, 29)]),
        (day(2026, 11, 3, 23), "month", [day(2026, 11, 3, 23), day(2026, 12, 3, 23), day(2027, 1, 3, 23)]),
        (day(2028, 2, 29), "year", [day(2028, 2, 29), day(2029, 2, 28), day(2030, 2, 28), day(2031, 2, 28), day(2032, 2, 29)]),
    ],
)  # fmt: skip
def test_short_months_and_leap_years(anchor: datetime, interval: str, starts: list[datetime]) -> None:
    assert [period(anchor, interval, k)[0] for k in range(len(starts))] == starts


def test_an_anchor_in_another_zone_is_counted_in_utc() -> None:
    berlin_midnight = datetime(2026, 11, 1, 0, tzinfo=timezone(timedelta(hours=1)))
    assert period(berlin_midnight, "month", 1) == (day(2026, 11, 30, 23), day(2026, 12, 31, 23))


def test_what_is_no_period() -> None:
    with pytest.raises(ValueError, match="time zone"):
        period(datetime(2026, 1, 1), "month", 0)  # noqa: DTZ001 - the refusal of a naive time is what is tested
    with pytest.raises(ValueError, match="month, year"):
        period(day(2026, 1, 1), "week", 0)
