"""When a report of use is dated: within the period whose invoice is to have it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portal.usage.report_dates import BillingPeriod, date_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


BEGINS = at("2027-03-10 12:00:00")
PERIOD = BillingPeriod(BEGINS, at("2027-04-10 12:00:00"), "sub_1", trial=False, began=BEGINS)
NOW = at("2027-03-20 15:30:45.5")

CASES = {
    "today, as it is reported": ("2027-03-20", NOW, PERIOD, "2027-03-20 15:30:45", None),
    "an earlier day of the period under way as well": ("2027-03-12", NOW, PERIOD, "2027-03-20 15:30:45", None),
    "what begins with the period": ("2027-03-10 12:00:00", NOW, PERIOD, "2027-03-20 15:30:45", None),
    "the day in which it began, before that": (
        "2027-03-10", NOW, PERIOD, "2027-03-10 11:59:59", "2027-03-10 12:00:00",
    ),
    "a day before it, at that day's end": ("2027-03-08", NOW, PERIOD, "2027-03-08 23:59:59", "2027-03-10 12:00:00"),
    "the last hour of a period, half an hour later": (
        "2027-04-10", at("2027-04-10 12:30:00"), PERIOD, "2027-04-10 11:59:59", "2027-04-10 12:00:00",
    ),
    "the next period, of which we have not heard": (
        "2027-04-10 12:00:00", at("2027-04-10 12:30:00"), PERIOD, "2027-04-10 12:30:00", None,
    ),
    "nothing counts it": ("2027-03-20", NOW, None, "2027-03-20 15:30:45", None),
    "nothing counts it, and it is of an earlier day": ("2027-03-18", NOW, None, "2027-03-18 23:59:59", None),
    "begun within this very second": ("2027-03-20 15:30:45.4", NOW, None, "2027-03-20 15:30:45.4", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_report_is_dated(case: tuple[str, datetime, BillingPeriod | None, str, str | None]) -> None:
    starts_at, now, period, dated, closes_at = case
    found = date_of(at(starts_at), now, period)
    assert found.at == at(dated)
    assert found.closes_at == (at(closes_at) if closes_at else None)


def test_no_report_is_dated_after_now_or_before_what_it_is_of() -> None:
    for hours in range(0, 24 * 70, 5):
        now = datetime.fromtimestamp(PERIOD.start.timestamp() - 86_400 * 20 + hours * 3600, UTC)
        for back in range(0, 24 * 34, 7):
            starts_at = datetime.fromtimestamp(now.timestamp() - back * 3600, UTC)
            assert starts_at <= date_of(starts_at, now, PERIOD).at <= now
