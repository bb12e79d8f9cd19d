"""What becomes of add-ons when their plan changes, where the subscription alone decides."""

from __future__ import annotations

import pytest

from portal.billing.change_addons import addons_ending, refuse_loss
from portal.billing.change_refused import ChangeRefused
from portal.billing.change_terms import AddonItem, Target, Terms, item_changes, target_items
from portal.catalog.addon_queries import AddonPrice
from portal.catalog.definition import Interval
from portal.catalog.queries import PlanPrice

ENDS = 1_000


def plan(key: str) -> PlanPrice:
    return PlanPrice("prc_1", key, key.title(), "plan", "month", 1_000, "usd", f"price_{key}", True, 0, None)


def price(key: str, interval: Interval = "month") -> AddonPrice:
    return AddonPrice(f"prc_{key}", key, key.title(), "", 9, interval, 500, "usd", f"price_{key}_{interval}")


def terms(*items: AddonItem) -> Terms:
    return Terms(plan("pro"), "si_plan", None, None, 0, items)


def target(*addons: tuple[AddonPrice, int], key: str = "starter") -> Target:
    return Target(plan(key), None, 0, None, addons)


MONTH = AddonItem("si_month", price("month"), 1, ENDS)
YEAR = AddonItem("si_year", price("year", "year"), 2, ENDS + 5_000)


def test_what_is_paid_for_beyond_the_period_is_not_ended_with_it() -> None:
    refuse_loss(terms(MONTH, YEAR), target((YEAR.price, 2)), ENDS)
    with pytest.raises(ChangeRefused) as refused:
        refuse_loss(terms(MONTH, YEAR), target((MONTH.price, 1)), ENDS)
    assert (refused.value.reason, refused.value.facts) == ("addon_paid_longer", {"addon": "Year", "plan": "Starter"})


# What the subscription is to have, what Stripe is asked for, and what ends.
CHANGES = {
    "nothing": (target((MONTH.price, 1), (YEAR.price, 2), key="pro"), [], []),
    "another number": (
        target((MONTH.price, 1), (YEAR.price, 5), key="pro"),
        [{"id": "si_year", "price": "price_year_year", "quantity": 5}],
        [],
    ),
    "another price": (
        target((price("month", "year"), 1), (YEAR.price, 2), key="pro"),
        [{"id": "si_month", "price": "price_month_year", "quantity": 1}],
        [],
    ),
    "one goes": (target((YEAR.price, 2), key="pro"), [{"id": "si_month", "deleted": True}], ["month"]),
    "one comes": (
        target((MONTH.price, 1), (YEAR.price, 2), (price("new"), 3), key="pro"),
        [{"price": "price_new_month", "quantity": 3}],
        [],
    ),
    "one takes the place of another": (
        target((YEAR.price, 2), (price("new"), 3), key="pro"),
        [{"id": "si_month", "deleted": True}, {"price": "price_new_month", "quantity": 3}],
        ["month"],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_only_what_differs_is_asked_for(what: str) -> None:
    wanted, asked, ends = CHANGES[what]
    before = terms(MONTH, YEAR)
    assert item_changes(before, wanted) == asked
    assert addons_ending(before, wanted) == ends
    assert target_items(wanted)[0] == ("price_pro", 1)
    assert target_items(wanted)[1:] == [(one.stripe_price_id, number) for one, number in wanted.addons]
