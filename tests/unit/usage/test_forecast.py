"""What a period will come to: a number, and a range around it that begins no lower than what is used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from portal.catalog.metered_queries import MeteredPrice
from portal.usage.forecast import forecast
from portal.usage.overage import Overage
from portal.usage.settled import NOT_SETTLED

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
PRICE = MeteredPrice("price_1", "starter", "api_calls", "API calls", 20_000, 150, "usd", None)
counts = st.integers(0, 10**9)


def overage(days: list[int], used: int, left: timedelta) -> Overage:
    ahead = forecast(days, used, NOW, NOW + left)
    return Overage(PRICE, NOW, NOW + left, used, NOT_SETTLED, trial=False, ahead=ahead)


def test_little_more_than_what_is_used_is_rounded_to_no_less() -> None:
    found = forecast([30, 30], 123_400, NOW, NOW + timedelta(hours=12))
    assert found is not None
    assert (found.more, found.low, found.total, found.high) == (15, 123_400, 123_400, 123_400)


@given(days=st.lists(counts, min_size=2, max_size=7), used=counts, hours=st.integers(1, 24 * 31))
def test_a_range_contains_what_is_likeliest(days: list[int], used: int, hours: int) -> None:
    found = overage(days, used, timedelta(hours=hours))
    assert found.ahead is not None
    assert used <= found.ahead.low <= found.ahead.total <= found.ahead.high
    assert found.cents <= found.cents_low <= found.cents_likely <= found.cents_high
