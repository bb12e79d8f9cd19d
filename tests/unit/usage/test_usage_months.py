"""The months in which use is counted: where each begins and ends, before, within and after what we know of a plan."""

from __future__ import annotations

from datetime import UTC, datetime

from portal.billing.models import Subscription
from portal.usage.periods import usage_month

MADE = datetime(2025, 10, 20, 15, tzinfo=UTC)


def at(month: int, day: int, hour: int = 12, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def of(start: datetime, end: datetime, began: datetime, interval: str = "month") -> Subscription:
    return Subscription(current_period_start=start, current_period_end=end, started_at=began, interval=interval)


def test_a_short_month_is_followed_and_preceded_by_the_anchors_own_day() -> None:
    began = at(1, 31, year=2025)
    february = of(at(1, 31), at(2, 28), began)
    march = of(at(2, 28), at(3, 31), began)
    assert usage_month(march, MADE, at(2, 10)) == (at(1, 31), at(2, 28))
    assert usage_month(march, MADE, at(1, 10)) == (at(12, 31, year=2025), at(1, 31))
    assert usage_month(february, MADE, at(1, 10)) == (at(12, 31, year=2025), at(1, 31))
    assert usage_month(february, MADE, at(3, 5)) == (at(2, 28), at(3, 31)), "begun before we heard of it"
    assert usage_month(of(at(4, 30), at(5, 31), began), MADE, at(4, 2)) == (at(3, 31), at(4, 30))


def test_the_month_before_a_new_subscription_is_the_teams_own_and_ends_with_it() -> None:
    fresh = of(at(1, 5), at(2, 5), began=at(1, 5))
    assert usage_month(fresh, MADE, at(1, 5, 11)) == (at(12, 20, 15, year=2025), at(1, 5))
    assert usage_month(fresh, MADE, at(12, 20, 14, year=2025)) == (
        at(11, 20, 15, year=2025),
        at(12, 20, 15, year=2025),
    )


def test_a_trial_is_a_month_of_its_own() -> None:
    paid = of(at(1, 24), at(2, 24), began=at(1, 10))
    assert usage_month(paid, MADE, at(1, 23)) == (at(1, 10), at(1, 24))
    assert usage_month(paid, MADE, at(1, 9)) == (at(12, 20, 15, year=2025), at(1, 10))
    trial = of(at(1, 10), at(1, 24), began=at(1, 10))
    assert usage_month(trial, MADE, at(1, 30)) == (at(1, 24), at(2, 24))
