"""How much is bought: enough, never past a limit, and never more than the gap needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.core.times import month_end
from portal.credits.purchase_size import Bought, Limits, Size, bundles_for, day_end, size

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
AMOUNTS = st.integers(1, 10**9)
limits = st.builds(Limits, st.integers(1, 50), st.integers(1, 500), AMOUNTS, AMOUNTS)
spent = st.builds(Bought, st.integers(0, 60), st.integers(0, 600), st.integers(0, 10**9), st.integers(0, 10**9))
moments = st.integers(0, 20 * 365 * 86_400).map(lambda seconds: NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("gap", "bundles"), [(-5, 1), (0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (2_000, 2), (10_500, 11)]
)
def test_the_fewest_bundles_that_close_the_gap(gap: int, bundles: int) -> None:
    assert bundles_for(gap, 1_000) == bundles


@given(gap=st.integers(1, 10**12), each=AMOUNTS)
def test_a_gap_is_closed_and_one_bundle_less_would_not_do(gap: int, each: int) -> None:
    bundles = bundles_for(gap, each)
    assert bundles * each >= gap
    assert (bundles - 1) * each < gap


@pytest.mark.parametrize(
    ("day_cents", "month_cents", "bundles"), [(200, 1_000, 2), (1_000, 300, 3), (1_000, 1_000, 5), (299, 1_000, 2)]
)
def test_the_narrower_limit_counts(day_cents: int, month_cents: int, bundles: int) -> None:
    """Five bundles of 100 cents are wanted."""
    limits = Limits(day_count=9, month_count=9, day_cents=day_cents, month_cents=month_cents)
    assert size(5_000, 1_000, 100, limits, Bought(), NOON) == Size(bundles)


@given(gap=st.integers(1, 10**9), each=AMOUNTS, cents=AMOUNTS, limits=limits, bought=spent, now=moments)
def test_no_limit_is_ever_passed(
    gap: int, each: int, cents: int, limits: Limits, bought: Bought, now: datetime
) -> None:
    sized = size(gap, each, cents, limits, bought, now)
    if sized.bundles:
        assert (sized.limit, sized.until) == (None, None)
        assert bought.day_count + 1 <= limits.day_count
        assert bought.month_count + 1 <= limits.month_count
        assert bought.day_cents + sized.bundles * cents <= limits.day_cents
        assert bought.month_cents + sized.bundles * cents <= limits.month_cents
        assert sized.bundles <= bundles_for(gap, each)
    else:
        assert sized.limit in ("day", "month")
        assert sized.until is not None
        assert now < sized.until <= now + timedelta(days=1 if sized.limit == "day" else 31)


@given(gap=st.integers(1, 10**9), each=AMOUNTS, cents=AMOUNTS, limits=limits, bought=spent)
def test_as_much_is_bought_as_is_needed_and_allowed(
    gap: int, each: int, cents: int, limits: Limits, bought: Bought
) -> None:
    """One bundle more would be more than is needed, or pass a limit."""
    sized = size(gap, each, cents, limits, bought, NOON)
    more = sized.bundles + 1
    needed = more <= bundles_for(gap, each)
    in_count = bought.day_count < limits.day_count and bought.month_count < limits.month_count
    in_money = (
        bought.day_cents + more * cents <= limits.day_cents and bought.month_cents + more * cents <= limits.month_cents
    )
    assert not (needed and in_count and in_money)


@pytest.mark.parametrize(
    ("now", "day", "month"),
    [
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        (datetime(2026, 1, 31, 5, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_days_and_months_end_where_the_next_begins(now: datetime, day: datetime, month: datetime) -> None:
    assert (day_end(now), month_end(now)) == (day, month)
