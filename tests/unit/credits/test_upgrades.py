"""What changes of plan come to within a month, against the rule written out another way: exact fractions of a second's credits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import chain, permutations
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.paid_change_models import PaidChange
from portal.credits.upgrades import rises

START = datetime(2028, 2, 1, 9, 30, tzinfo=UTC)
END = datetime(2028, 3, 1, 9, 30, tzinfo=UTC)
LENGTH = int((END - START).total_seconds())
LEVELS = (0, 1_000, 5_000, 20_000)


def changes(
    base: int, moves: list[tuple[int, int]], policy: str = "difference", until: datetime = END
) -> list[PaidChange]:
    """`moves` are pairs of a second of the month and the credits of the plan that is in force from then on."""
    found, level = [], base
    for number, (second, gives) in enumerate(moves):
        common: dict[str, Any] = {
            "invoice_stripe_id": f"in_{number}", "plan_key": "any", "since": START + timedelta(seconds=second),
            "until": until, "policy": policy,
        }  # fmt: skip
        found.append(PaidChange(line=0, credits=-level, **common))
        found.append(PaidChange(line=1, credits=gives, **common))
        level = gives
    return found


def amounts(*args: Any, **more: Any) -> list[int]:
    return [rise.credits for rise in rises(changes(*args, **more), START, END)]


def test_an_upgrade_in_the_middle_gives_half_of_the_difference() -> None:
    assert amounts(5_000, [(LENGTH // 2, 20_000)]) == [7_500]


def test_up_and_down_in_a_second_is_one_net_adjustment() -> None:
    """Fault 40: what is left of it is the second."""
    half = LENGTH // 2
    assert sum(amounts(5_000, [(half, 20_000), (half, 5_000)])) == 0
    assert sum(amounts(5_000, [(half, 20_000), (half + 1, 5_000)])) in (0, 1)
    assert sum(amounts(5_000, [(half, 20_000), (half, 5_000), (half, 20_000), (half, 5_000)])) == 0
    assert sum(amounts(5_000, [(half, 20_000), (half, 5_000), (half, 20_000)])) == 7_500


def test_the_order_of_changes_within_a_second_does_not_matter() -> None:
    made = changes(5_000, [(600, 20_000), (600, 1_000), (600, 5_000), (600, 20_000)])
    pairs = [made[place : place + 2] for place in range(0, 8, 2)]
    found = {sum(rise.credits for rise in rises(chain(*order), START, END)) for order in permutations(pairs)}
    assert found == {15_000 * (LENGTH - 600) // LENGTH}


def test_a_cheaper_plan_takes_nothing_of_what_the_month_was_begun_with() -> None:
    assert sum(amounts(20_000, [(LENGTH // 3, 1_000)])) == 0
    assert sum(amounts(20_000, [(LENGTH // 3, 1_000), (LENGTH // 2, 20_000)])) == 0, "nor does going back up give more"


@pytest.mark.parametrize(("policy", "given"), [("difference", 750), ("full", 15_000), ("none", 0)])
def test_the_catalog_says_how_much_of_it_is_given(policy: str, given: int) -> None:
    assert sum(amounts(5_000, [(LENGTH * 19 // 20, 20_000)], policy=policy)) == given


@pytest.mark.parametrize("policy", ["difference", "full", "none"])
def test_the_months_of_a_year_that_come_after_it_have_all_of_it(policy: str) -> None:
    year = changes(5_000, [(LENGTH // 2, 20_000)], policy, until=START + timedelta(days=366))
    later = [rise.credits for rise in rises(year, END, END + timedelta(days=31))]
    assert later == [15_000]


@given(
    base=st.sampled_from(LEVELS),
    moves=st.lists(st.tuples(st.integers(0, LENGTH - 1), st.sampled_from(LEVELS)), max_size=6).map(sorted),
)
def test_the_sum_is_that_of_the_levels_over_the_rest_of_the_month(base: int, moves: list[tuple[int, int]]) -> None:
    expected, level = Fraction(0), base
    for second, gives in moves:
        expected += Fraction((gives - level) * (LENGTH - second), LENGTH)
        level = gives
    steps = amounts(base, moves)
    assert sum(steps) == max(floor(expected), 0)
    totals = [sum(steps[: number + 1]) for number in range(len(steps))]
    assert all(total >= 0 for total in totals)
