"""The pricing page's view model: what each kind of viewer may press, and the words that are worked out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.catalog.definition import Catalog
from portal.catalog.loader import load_catalog
from portal.catalog.pricing_page import (
    BY_CANCELING,
    NO_TEAM,
    NOT_ON_SALE,
    ONE_PLAN,
    ONLY_BUYERS,
    TRIAL_USED,
    Action,
    Choice,
    PlanCard,
    PricingPage,
    Viewer,
    build,
    per_credit_text,
    saving_text,
)
from tests.unit.catalog.small import changed, read, small

DEFAULT = load_catalog("default")
CHECKOUT = "/teams/team_1/checkout"
FREE = Viewer(signed_in=True, plan_key="free", may_buy=True, checkout_url=CHECKOUT)
ON_PRO = Viewer(signed_in=True, plan_key="pro", interval="month", subscribed=True, may_buy=True, checkout_url=CHECKOUT)


def on_sale(catalog: Catalog) -> frozenset[tuple[str, str, int]]:
    return frozenset(
        (price.owner_key, price.interval, price.unit_amount_cents)
        for price in catalog.prices()
        if price.purpose == "plan" and price.interval
    )


def sign_up(plan_key: str, interval: str) -> str:
    return f"/signup?{plan_key}-{interval}"


def page_for(viewer: Viewer, catalog: Catalog = DEFAULT, choice: Choice | None = None) -> PricingPage:
    return build(catalog, viewer, choice or Choice(), on_sale(catalog), sign_up)


def cards(page: PricingPage) -> dict[str, PlanCard]:
    return {card.key: card for card in page.plans}


def labels(page: PricingPage, *, yearly: bool = False) -> dict[str, str | None]:
    actions = {card.key: card.action_year if yearly else card.action for card in page.plans}
    return {key: action.label if action else None for key, action in actions.items()}


def primary(page: PricingPage) -> list[str]:
    return [card.key for card in page.plans if card.action and card.action.primary]


class TestVisitor:
    """Somebody who is signed out: every button is a link to sign-up that remembers the plan."""

    def test_is_led_to_sign_up_with_the_plan_remembered(self) -> None:
        card = cards(page_for(Viewer()))["pro"]
        assert card.action == Action("Start 14 days free", "/signup?pro-month", "get", primary=True)
        assert card.action_year == Action("Start 14 days free", "/signup?pro-year", "get", primary=True)

    def test_sees_words_that_fit_each_plan(self) -> None:
        assert labels(page_for(Viewer())) == {
            "free": "Start with Free",
            "starter": "Start 14 days free",
            "pro": "Start 14 days free",
            "business": "Start with Business",
            "enterprise": None,
        }

    def test_has_no_plan(self) -> None:
        assert not any(card.is_current for card in page_for(Viewer()).plans)

    def test_may_sign_up_before_the_catalog_is_at_stripe(self) -> None:
        page = build(DEFAULT, Viewer(), Choice(), frozenset(), sign_up)
        assert not any(card.action.disabled for card in page.plans if card.action)


class TestTeamOnTheFreePlan:
    def test_may_begin_a_checkout(self) -> None:
        card = cards(page_for(FREE))["business"]
        assert card.action == Action("Subscribe to Business", CHECKOUT, "post")

    def test_has_nothing_to_press_at_its_own_plan(self) -> None:
        card = cards(page_for(FREE))["free"]
        assert (card.is_current, card.action, card.action_year) == (True, None, None)

    def test_member_is_told_who_can_buy(self) -> None:
        page = page_for(replace(FREE, may_buy=False))
        assert {card.action.reason for card in page.plans if card.action} == {ONLY_BUYERS}
        assert primary(page) == []

    def test_cannot_buy_what_stripe_does_not_have_at_this_amount(self) -> None:
        known = on_sale(DEFAULT) - {("pro", "month", 9900)} | {("pro", "month", 8900)}
        card = cards(build(DEFAULT, FREE, Choice(), known, sign_up))["pro"]
        assert card.action is not None
        assert (card.action.disabled, card.action.reason) == (True, NOT_ON_SALE)
        assert card.action_year is not None
        assert not card.action_year.disabled

    def test_who_has_had_a_trial_is_told_that_the_first_payment_is_today(self) -> None:
        found = cards(page_for(replace(FREE, trial_used=True)))
        assert {card.trial_days for card in found.values()} == {0}
        assert found["pro"].action == Action("Subscribe to Pro", CHECKOUT, "post", primary=True, note=TRIAL_USED)
        assert found["business"].action == Action("Subscribe to Business", CHECKOUT, "post")  # it never had a trial

    def test_without_a_team_nothing_can_be_bought(self) -> None:
        page = page_for(Viewer(signed_in=True))
        assert {card.action.reason for card in page.plans if card.action} == {NO_TEAM}


class TestSubscriber:
    def test_has_one_plan_at_a_time(self) -> None:
        page = page_for(ON_PRO)
        assert labels(page) == {
            "free": "Move to Free",
            "starter": "Move to Starter",
            "pro": None,
            "business": "Upgrade to Business",
            "enterprise": None,
        }
        assert {card.action.reason for card in page.plans if card.action} == {ONE_PLAN, BY_CANCELING}

    def test_goes_to_a_preview_of_the_change(self) -> None:
        found = cards(page_for(replace(ON_PRO, change_url="/preview")))
        actions = {key: card.action for key, card in found.items() if card.action}
        assert {key: (action.form_action, action.reason) for key, action in actions.items()} == {
            "free": ("/preview", BY_CANCELING),
            "starter": ("/preview", None),
            "business": ("/preview", None),
        }

    def test_is_told_which_plan_is_theirs_and_of_no_second_trial(self) -> None:
        found = cards(page_for(ON_PRO))
        assert [key for key, card in found.items() if card.is_current] == ["pro"]
        assert {card.trial_days for card in found.values()} == {0}

    def test_sees_the_other_interval_of_their_plan(self) -> None:
        assert labels(page_for(ON_PRO), yearly=True)["pro"] == "Switch to yearly"
        yearly = page_for(replace(ON_PRO, interval="year"))
        assert (labels(yearly)["pro"], labels(yearly, yearly=True)["pro"]) == ("Switch to monthly", None)

    def test_on_a_plan_that_left_the_catalog(self) -> None:
        page = page_for(replace(ON_PRO, plan_key="gone"))
        assert not any(card.is_current for card in page.plans)
        assert {card.action.reason for card in page.plans if card.action} == {ONE_PLAN, BY_CANCELING}


class TestPrimaryButton:
    @pytest.mark.parametrize(
        ("remembered", "expected"),
        [(None, ["pro"]), ("starter", ["starter"]), ("free", ["pro"]), ("enterprise", ["pro"]), ("\x00", ["pro"])],
    )
    def test_is_the_remembered_plan_or_the_recommended_one(self, remembered: str | None, expected: list[str]) -> None:
        assert primary(page_for(FREE, choice=Choice(plan_key=remembered))) == expected


class TestFigures:
    def test_come_before_the_bullets_of_the_file(self) -> None:
        assert cards(page_for(Viewer()))["pro"].bullets == [
            "5,000 credits a month",
            "10 seats",
            "100,000 API calls a month",
            "Bundles and auto-purchase",
            "12 months of usage history",
        ]
        assert cards(page_for(Viewer()))["free"].bullets[1] == "1 seat"

    def test_of_the_saving(self) -> None:
        found = cards(page_for(Viewer()))
        assert [found[key].saving_cents for key in ("free", "starter", "pro", "business")] == [None, 5800, 19800, 59800]
        assert page_for(Viewer()).intervals_saving_text == "2 months free"

    def test_of_bundles(self) -> None:
        found = [
            (card.credits, card.cents, card.per_credit_text, card.less_text) for card in page_for(Viewer()).bundles
        ]
        assert found == [
            (500, 1_000, "2.00\u00a0¢ a credit", None),
            (1_000, 1_800, "1.80\u00a0¢ a credit", "10\u00a0% less"),
            (5_000, 8_000, "1.60\u00a0¢ a credit", "20\u00a0% less"),
            (10_000, 15_000, "1.50\u00a0¢ a credit", "25\u00a0% less"),
        ]

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ("", "Bundles are spent after plan credits and do not expire."),
            ("expires_after_months = 12", "Bundles stay valid for 12 months."),
            ("expires_after_months = 1", "Bundles stay valid for 1 month."),
        ],
    )
    def test_of_how_long_bundles_last(self, lines: str, expected: str) -> None:
        catalog = small("price_cents = 1000", f"price_cents = 1000\n{lines}")
        assert page_for(Viewer(), catalog).bundles_text == expected

    def test_of_bundles_that_always_go_last(self) -> None:
        catalog = read(
            changed('"usd"', '"usd"\nspend_order = "kind"').replace(
                "credits = 500", "credits = 500\nexpires_after_months = 6"
            )
        )
        assert page_for(Viewer(), catalog).bundles_text == (
            "Bundles are spent after plan credits and stay valid for 6 months."
        )

    def test_of_a_credit_in_other_currencies(self) -> None:
        assert per_credit_text(1_000, 500, "eur") == "€20.00 per 1,000"
        assert per_credit_text(500, 500, "jpy") == "¥1,000 per 1,000"


class TestSavingText:
    def test_differs_by_plan(self) -> None:
        pro = small().plans[1]
        other = replace(pro, monthly_cents=1000, yearly_cents=9000)
        assert saving_text((pro, other)) == "save up to 25\u00a0%"

    def test_of_part_of_a_month(self) -> None:
        assert (
            saving_text((replace(small().plans[1], monthly_cents=1000, yearly_cents=10_500),)) == "save up to 12\u00a0%"
        )

    def test_of_one_month(self) -> None:
        assert saving_text((replace(small().plans[1], monthly_cents=1000, yearly_cents=11_000),)) == "1 month free"

    def test_of_nothing(self) -> None:
        dear = replace(small().plans[1], monthly_cents=1000, yearly_cents=13_000)
        assert saving_text((dear,)) is None
        assert saving_text(()) is None
        assert saving_text(small().plans[:1]) is None

    @given(monthly=st.integers(1, 10**8), yearly=st.integers(1, 10**9))
    def test_never_promises_more_than_is_saved(self, monthly: int, yearly: int) -> None:
        text = saving_text((replace(small().plans[1], monthly_cents=monthly, yearly_cents=yearly),)) or "0"
        saved = max(monthly * 12 - yearly, 0)
        number = int("".join(character for character in text if character.isdigit()))
        assert number * monthly <= saved if "free" in text else number * monthly * 12 <= saved * 100


class TestCompareTable:
    def rows(self, catalog: Catalog = DEFAULT) -> dict[str, list[str | bool | None]]:
        return {row.label: row.cells for block in page_for(Viewer(), catalog).compare for row in block.rows}

    def test_has_the_figures_of_the_plans(self) -> None:
        rows = self.rows()
        assert rows["Credits a month"] == ["100", "1,000", "5,000", "20,000", "By contract"]
        assert rows["API calls included"] == ["1,000", "20,000", "100,000", "500,000", "By contract"]
        assert rows["1,000 more API calls"] == [None, "$1.50", "$1.00", "$0.80", "By contract"]
        assert rows["Extra seat a month"] == [None, "$9.00", "$12.00", "$10.00", "By contract"]
        assert rows["Seats included"] == ["1", "3", "10", "25", "Any number"]
        assert rows["Free trial"] == [None, "14 days", "14 days", None, "On request"]

    def test_has_the_features(self) -> None:
        rows = self.rows()
        assert rows["Auto-purchase"] == [False, False, True, True, True]
        assert rows["Single sign-on"] == [False, False, False, False, True]
        assert rows["Usage history"] == ["30 days", "12 months", "12 months", "36 months", "As agreed"]

    def test_says_with_which_plans_an_add_on_is_sold_and_for_how_much(self) -> None:
        rows = self.rows()
        assert rows["Add-on: Audit log"] == [None, None, "$19.00 a month or $190.00 a year", None, None]
        each = "$60.00 a year"
        assert rows["Add-on: Another year of history"] == [None, each, each, each, None]

    def test_words_limits_and_texts(self) -> None:
        rows = self.rows(small())
        assert (rows["History"], rows["Support"]) == ([False, "365 days"], [False, "By mail"])
        unlimited = small("history = 365", 'history = "unlimited"')
        assert self.rows(unlimited)["History"] == [False, "Unlimited"]

    def test_has_a_cell_for_every_plan(self) -> None:
        assert {len(cells) for cells in self.rows().values()} == {len(DEFAULT.plans)}


class TestAddons:
    def test_name_their_plans_and_prices(self) -> None:
        audit, history = page_for(Viewer()).addons
        assert (audit.price_text, audit.plans_text, audit.each) == (
            "$19.00 a month or $190.00 a year", "With Pro", False,
        )  # fmt: skip
        assert (history.price_text, history.plans_text, history.each) == (
            "$60.00 a year", "With Starter, Pro and Business", True,
        )  # fmt: skip

    def test_are_not_told_of_where_there_are_none(self) -> None:
        assert page_for(Viewer(), small()).addons == []


class TestOtherProducts:
    def test_paid_yearly_only(self) -> None:
        text = changed("monthly_cents = 9900\n", "").replace("seat_monthly_cents = 1200", "seat_yearly_cents = 12000")
        card = cards(page_for(FREE, read(text)))["pro"]
        assert (card.monthly_cents, card.action) == (None, None)
        assert card.action_year is not None

    def test_paid_monthly_only_has_no_yearly_page(self) -> None:
        catalog = small("yearly_cents = 99000\n", "")
        assert page_for(FREE, catalog, Choice(interval="year")).interval == "month"
        assert page_for(FREE, DEFAULT, Choice(interval="year")).interval == "year"

    def test_of_one_plan_without_bundles(self) -> None:
        text = changed("[[bundles]]", "[[gone]]").split("[[gone]]", maxsplit=1)[0]
        page = page_for(Viewer(), read(text))
        assert (page.bundles, page.compare, page.quote_url) == ([], [], None)

    def test_notes_name_the_currency(self) -> None:
        assert page_for(Viewer()).notes == ["Prices are in US dollars.", "VAT and sales tax are not included."]
        assert page_for(Viewer(), small('"usd"', '"eur"')).notes == ["Prices are in euros."]

    def test_a_quote_is_asked_for_by_mail(self) -> None:
        assert page_for(Viewer()).quote_url == "mailto:sales@example.com?subject=A%20quote%20from%20Fernway"
