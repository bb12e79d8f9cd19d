"""Reading the catalog: every mistake is named with the file, the key and the reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.catalog.definition import ACCESS_DEFAULT, Catalog, StateRights
from portal.catalog.loader import load_catalog, preset_names, read_catalog
from portal.catalog.toml_reading import CatalogError
from tests.unit.catalog.small import SMALL, SOURCE, changed, read, small

TRIAL = "trial_days = 14"
MONTHLY = "monthly_cents = 9900\n"
FEATURES = 'features = { roles = true, history = 365, support = "By mail" }'
ROWS = 'rows = ["@credits", "roles", "history", "support", "@included:api_calls"]'

ADDON = """
[[addons]]
key = "more"
name = "More of it"
description = "For who needs more."
plans = ["pro"]
monthly_cents = 500
yearly_cents = 5000
quantity_max = 3
features = { roles = true, history = 30 }
"""
GIVES = "features = { roles = true, history = 30 }"


def addon(old: str = "", new: str = "") -> str:
    """The add-on with its one occurrence of `old` replaced."""
    assert not old or ADDON.count(old) == 1
    return ADDON.replace(old, new) if old else ADDON


# What is replaced, by what, the place that the message names, and a part of the reason.
BROKEN = {
    "no seller": ('name = "Fernway"\n', "", "portal.name", "is missing"),
    "seller of the wrong type": ('name = "Fernway"', "name = 7", "portal.name", "must be a text, not 7"),
    "seller of two lines": ('name = "Fernway"', 'name = "Fern\\nway"', "portal.name", "control characters"),
    "seller with a NUL": ('name = "Fernway"', 'name = "Fern\\u0000"', "portal.name", "control characters"),
    "empty seller": ('name = "Fernway"', 'name = "  "', "portal.name", "must not be empty"),
    "endless seller": ('name = "Fernway"', f'name = "{"x" * 61}"', "portal.name", "60 characters at most"),
    "accent that is no colour": ('"#4456d8"', '"red"', "portal.accent", "must be a colour"),
    "accent with more than a colour": ('"#4456d8"', '"#4456d8;}"', "portal.accent", "must be a colour"),
    "address that runs code": ('"#4456d8"', '"#4456d8"\nterms_url = "javascript:1"', "portal.terms_url", "https://"),
    "address with a quote": ('"#4456d8"', '"#4456d8"\nterms_url = "https://a/\'"', "portal.terms_url", "https://"),
    "address without a host": ('"#4456d8"', '"#4456d8"\nterms_url = "https://"', "portal.terms_url", "https://"),
    "address that cannot be parsed": ('"#4456d8"', '"#4456d8"\nterms_url = "http://["', "portal.terms_url", "https://"),
    "quotes to nowhere": ('"#4456d8"', '"#4456d8"\nquote_email = "me"', "portal.quote_email", "must be an address"),
    "notes that are no list": ('"#4456d8"', '"#4456d8"\nprice_notes = "x"', "portal.price_notes", "must be a list"),
    "a note that is no text": ('"#4456d8"', '"#4456d8"\nprice_notes = [1]', "portal.price_notes[0]", "must be a text"),
    "misspelt key": ('"#4456d8"', '"#4456d8"\nacent = "x"', "portal.acent", 'did you mean "accent"?'),
    "unknown table": ("", "[plan]\nx = 1", "plan", 'did you mean "plans"?'),
    "unknown currency": ('"usd"', '"zzz"', "billing.currency", "not an ISO 4217 currency"),
    "loud currency": ('"usd"', '"USD"', "billing.currency", 'small letters: "usd"'),
    "no currency": ('currency = "usd"', "", "billing.currency", "is missing"),
    "unknown spend order": ('"usd"', '"usd"\nspend_order = "expire"', "billing.spend_order", 'did you mean "expiry"?'),
    "unknown trial grant": ('"usd"', '"usd"\ntrial_grant = "half"', "billing.trial_grant", 'one of "full", "none"'),
    "an upgrade that gives half": (
        '"usd"', '"usd"\nupgrade_grant = "half"', "billing.upgrade_grant", 'one of "difference", "full", "none"'),
    "a policy that is no flag": (
        '"usd"', '"usd"\nzero_invoice_grant = 1', "billing.zero_invoice_grant", "must be true or false"),
    "access in a state that is none": (
        '"usd"', '"usd"\naccess = { incomplete = "full" }', "billing.access.incomplete", "not a key that is known"),
    "access of an unknown kind": (
        '"usd"', '"usd"\naccess = { unpaid = "reading" }', "billing.access.unpaid", 'one of "full", "read_only", "none"'),
    "seats of an unknown kind": (
        '"usd"', '"usd"\naccess = { paused = { seats = "keep" } }', "billing.access.paused.seats", 'did you mean "kept"?'),
    "what a state leaves of nothing": (
        '"usd"', '"usd"\naccess = { paused = { credit = "usable" } }', "billing.access.paused.credit", 'did you mean "credits"?'),
    "an end of an unknown kind": ('"usd"', '"usd"\ncancel_now = "refund"', "billing.cancel_now", 'did you mean "no_refund"?'),
    "access of a plan, of an unknown kind": (
        MONTHLY, MONTHLY + "access = { paused = 1 }\n", "plans.pro.access.paused", "must be a text"),
    "terms to agree to that are nowhere": (
        '"usd"', '"usd"\nrequire_terms = true', "billing.require_terms", "portal.terms_url is missing"),
    "a discount of nothing": ("percent_off = 20", "percent_off = 0", "coupons.launch.percent_off", "at least 1"),
    "a discount beyond everything": ("percent_off = 20", "percent_off = 101", "coupons.launch.percent_off", "at most 100"),
    "a discount with a fraction": ("percent_off = 20", "percent_off = 12.5", "coupons.launch.percent_off", "fraction 12.5"),
    "no discount": ("percent_off = 20\n", "", "coupons.launch.percent_off", "either a percentage or an amount"),
    "two discounts": (
        "percent_off = 20", "percent_off = 20\namount_off_cents = 1", "coupons.launch.percent_off", "either"),
    "unknown duration": (
        "percent_off = 20", 'percent_off = 20\nduration = "twice"', "coupons.launch.duration", 'one of "once"'),
    "months of a single time": (
        "percent_off = 20", "percent_off = 20\nduration_months = 3", "coupons.launch.duration_months", "repeating"),
    "repeating without months": (
        "percent_off = 20", 'percent_off = 20\nduration = "repeating"', "coupons.launch.duration_months", "repeating"),
    "a discount on what is not sold": (
        '"plan:pro", ', '"plan:prox", ', "coupons.launch.applies_to", 'did you mean "plan:pro"?'),
    "a discount on what is free": ('"plan:pro", ', '"plan:free", ', "coupons.launch.applies_to", "is not sold here"),
    "a code with a blank": ('"LAUNCH20"', '"LAUNCH 20"', "promotion_codes[0].code", "3 to 60 letters"),
    "a code of no coupon": ('coupon = "launch"', 'coupon = "lunch"', "promotion_codes[0].coupon", 'did you mean "launch"?'),
    "an end without a zone": (
        "T00:00:00Z", "T00:00:00", "promotion_codes[0].expires_at", "must carry a zone"),
    "an end that is a day": ("T00:00:00Z", "", "promotion_codes[0].expires_at", "must be a time"),
    "two codes that differ by case": (
        "[[promotion_codes]]", '[[promotion_codes]]\ncode = "launch20"\ncoupon = "launch"\n[[promotion_codes]]',
        "promotion_codes[1].code", "is there twice"),
    "meter without a cost": ("cost_credits = 1\n", "", "meters.send_email.cost_credits", "is missing"),
    "free use": ("cost_credits = 1\n", "cost_credits = 0\n", "meters.send_email.cost_credits", "at least 1, not 0"),
    "metered with a cost": (
        'mode = "metered"', 'mode = "metered"\ncost_credits = 1', "meters.api_calls.cost_credits", "has no meaning"),
    "unknown word for a meter's failing": (
        'mode = "metered"', 'mode = "metered"\nwhen_unavailable = "open"', "meters.api_calls.when_unavailable",
        'one of "refuse", "allow"'),
    "failed calls by a word": (
        'mode = "metered"', 'mode = "metered"\ncharge_failed = "yes"', "meters.api_calls.charge_failed", "must be true or false"),
    "history of no feature": (
        'currency = "usd"', 'currency = "usd"\nusage_history_feature = "histori"', "billing.usage_history_feature",
        'did you mean "history"?'),
    "history of a switch": (
        'currency = "usd"', 'currency = "usd"\nusage_history_feature = "roles"', "billing.usage_history_feature",
        'unit = "days"'),
    "unknown mode": ('mode = "metered"', 'mode = "meter"', "meters.api_calls.mode", 'did you mean "metered"?'),
    "two meters of a key": ('key = "api_calls"', 'key = "send_email"', "meters[1].key", "meters[0] has it already"),
    "key with a dash": ('key = "api_calls"', 'key = "api-calls"', "meters[1].key", "must begin with a letter"),
    "key of a number": ('key = "api_calls"', "key = 3", "meters[1].key", "must be a text, not 3"),
    "no key": ('key = "api_calls"\n', "", "meters[1].key", "is missing"),
    "unit of a switch": ('kind = "switch"', 'kind = "switch"\nunit = "days"', "features.roles.unit", "only for kind limit"),
    "unknown kind": ('kind = "switch"', 'kind = "toggle"', "features.roles.kind", 'one of "switch", "limit", "text"'),
    "amount with a fraction": (MONTHLY, "monthly_cents = 99.00\n", "plans.pro.monthly_cents", "not the fraction 99.0"),
    "amount as a text": (MONTHLY, 'monthly_cents = "99"\n', "plans.pro.monthly_cents", 'not "99"'),
    "amount that is a flag": (MONTHLY, "monthly_cents = true\n", "plans.pro.monthly_cents", "not true"),
    "amount that is no number": (MONTHLY, "monthly_cents = nan\n", "plans.pro.monthly_cents", "fraction nan"),
    "negative amount": (MONTHLY, "monthly_cents = -1\n", "plans.pro.monthly_cents", "must not be negative"),
    "amount beyond Stripe": (MONTHLY, "monthly_cents = 100000000\n", "plans.pro.monthly_cents", "at most 99999999"),
    "amount that is a day": (MONTHLY, "monthly_cents = 2026-01-01\n", "plans.pro.monthly_cents", "not a date"),
    "a month for nothing": (MONTHLY, "monthly_cents = 0\n", "plans.pro.monthly_cents", "is 0 while the other"),
    "a year below a month": (MONTHLY, "monthly_cents = 99001\n", "plans.pro.yearly_cents", "costs less than a month"),
    "no price at all": ("monthly_cents = 0\n", "", "plans.free.monthly_cents", "a price a month or a year"),
    "two free plans": (
        "[[bundles]]", '[[plans]]\nkey="b"\nname="B"\npitch="b"\nmonthly_cents=0\n[[bundles]]', "plans", "one free plan"),
    "two plans of a key": ('key = "pro"', 'key = "free"', "plans[1].key", '"free" is used twice'),
    "trial of the free plan": (
        "credits_monthly = 100\n", "credits_monthly = 100\ntrial_days = 7\n", "plans.free.trial_days", "has no meaning"),
    "seats of the free plan": (
        "credits_monthly = 100\n", "seat_monthly_cents = 1\n", "plans.free.seat_monthly_cents", "has no meaning"),
    "trial without end": (TRIAL, "trial_days = 731", "plans.pro.trial_days", "at most 730"),
    "custom with a price": (MONTHLY, MONTHLY + "custom = true\n", "plans.pro.monthly_cents", "sold by a quote"),
    "seats without a first one": ("seats_included = 10\n", "", "plans.pro.seats_included", "further seats are sold"),
    "seat of no interval": (MONTHLY, "", "plans.pro.seat_monthly_cents", "has no price for this interval"),
    "yearly seats only": (
        "seat_monthly_cents = 1200", "seat_yearly_cents = 12000", "plans.pro.seat_monthly_cents", "not with the monthly"),
    "negative credits": ("credits_monthly = 100\n", "credits_monthly = -1\n", "plans.free.credits_monthly", "negative"),
    "undeclared feature": (FEATURES, "features = { role = true }", "plans.pro.features.role", 'did you mean "roles"?'),
    "switch with a number": (FEATURES, "features = { roles = 3 }", "plans.pro.features.roles", "is a switch"),
    "limit that is a flag": (FEATURES, "features = { history = true }", "plans.pro.features.history", "is a limit"),
    "limit with a fraction": (FEATURES, "features = { history = 1.5 }", "plans.pro.features.history", "a whole number"),
    "negative limit": (FEATURES, "features = { history = -5 }", "plans.pro.features.history", "a whole number"),
    "limit without words": (
        FEATURES, "features = { history = { limit = 5 } }", "plans.pro.features.history.text", "is missing"),
    "limit with more": (
        FEATURES, 'features = { history = { limit = 5, text = "5", x = 1 } }', "plans.pro.features.history.x", "not a key"),
    "text that is a flag": (FEATURES, "features = { support = true }", "plans.pro.features.support", "is a text"),
    "empty text": (FEATURES, 'features = { support = "" }', "plans.pro.features.support", "must not be empty"),
    "features that are a list": (FEATURES, "features = []", "plans.pro.features", "must be a table, not a list"),
    "unknown meter": ("meters.api_calls =", "meters.api_call =", "plans.pro.meters.api_call", 'mean "api_calls"?'),
    "included e-mails": ("meters.api_calls =", "meters.send_email =", "plans.pro.meters.send_email", "in mode credits"),
    "overage with a fraction": (
        "overage_per_1000_cents = 100", "overage_per_1000_cents = 1.5",
        "plans.pro.meters.api_calls.overage_per_1000_cents", "not the fraction 1.5"),
    "overage of the free plan": (
        "credits_monthly = 100\n", "meters.api_calls = { included = 1, overage_per_1000_cents = 1 }\n",
        "plans.free.meters.api_calls.overage_per_1000_cents", "no subscription that could pay"),
    "words for no row": (TRIAL, 'compare = { "@credit" = "x" }', 'plans.pro.compare."@credit"', 'mean "@credits"?'),
    "add-on without a price": (
        "", addon("monthly_cents = 500\nyearly_cents = 5000\n", ""), "addons.more.yearly_cents", "a price a month or a year"),
    "add-on for nothing": ("", addon("= 500\n", "= 0\n"), "addons.more.monthly_cents", "at least 1"),
    "add-on whose year is less than a month": (
        "", addon("yearly_cents = 5000", "yearly_cents = 400"), "addons.more.yearly_cents", "costs less than a month"),
    "add-on of no plan": ("", addon('plans = ["pro"]\n', ""), "addons.more.plans", "with which plans"),
    "add-on of an unknown plan": ("", addon('["pro"]', '["prox"]'), "addons.more.plans", 'did you mean "pro"?'),
    "add-on of a free plan": ("", addon('["pro"]', '["free"]'), "addons.more.plans", "no plan"),
    "add-on that a year cannot have": (
        "", addon("yearly_cents = 5000\n", ""), "addons.more.plans", "for that yearly_cents is missing"),
    "add-on of nothing": ("", addon("quantity_max = 3", "quantity_max = 0"), "addons.more.quantity_max", "at least 1"),
    "add-on that takes away": (
        "", addon(GIVES, "features = { roles = false }"), "addons.more.features.roles", "never less"),
    "add-on of an unknown feature": (
        "", addon(GIVES, "features = { rolls = true }"), "addons.more.features.rolls", 'did you mean "roles"?'),
    "add-on with a switch for a limit": (
        "", addon(GIVES, "features = { history = true }"), "addons.more.features.history", "is a limit"),
    "add-on with a number for a switch": (
        "", addon(GIVES, "features = { roles = 3 }"), "addons.more.features.roles", "is a switch"),
    "add-on that adds to a text": (
        "", addon(GIVES, 'features = { support = "By phone" }'), "addons.more.features.support", "cannot be added to"),
    "add-on with a text for its limit": (
        "", addon(GIVES, 'features = { history = { limit = 30, text = "A month" } }'),
        "addons.more.features.history", "cannot be added to"),
    "add-on with the lookup key of a plan": (
        "", addon() + 'lookup_keys = { month = "turnpike_plan_pro_month" }', "lookup keys", "would name the"),
    "two add-ons of one key": ("", addon() + addon(), "addons[1].key", "used twice"),
    "row of an unknown add-on": (
        ROWS, ROWS.replace('"roles"', '"@addon:more"'), 'compare[0].rows: "@addon:more"', "neither a feature nor"),
    "bundle that nobody may buy": (
        "price_cents = 1000", "price_cents = 1000\nlimit_per_month = 0", "bundles.some.limit_per_month", "at least 1"),
    "empty bundle": ("credits = 500", "credits = 0", "bundles.some.credits", "at least 1"),
    "bundle for nothing": ("price_cents = 1000", "price_cents = 0", "bundles.some.price_cents", "at least 1"),
    "bundle without a price": ("price_cents = 1000\n", "", "bundles.some.price_cents", "is missing"),
    "bundle that ends at once": (
        "price_cents = 1000", "price_cents = 1000\nexpires_after_months = 0",
        "bundles.some.expires_after_months", "at least 1"),
    "one lookup key for two": (
        "price_cents = 1000", 'price_cents = 1000\nlookup_key = "turnpike_plan_pro_month"',
        "lookup keys", "plan price of pro (month)"),
    "unknown row": (ROWS, 'rows = ["@seat"]', 'compare[0].rows: "@seat"', 'did you mean "@seats"?'),
    "row of a meter that takes credits": (
        ROWS, 'rows = ["@included:send_email"]', 'compare[0].rows: "@included:send_email"', "neither a feature nor"),
    "row twice": (ROWS, 'rows = ["roles", "roles"]', 'compare[0].rows: "roles"', "in the table already"),
    "no rows": (ROWS, "", "compare[0].rows", "at least one row"),
    "key that hides itself": ("", '[portal."a\\nb"]', 'portal."a?b"', "is not a key"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_is_named_with_its_place_and_reason(old: str, new: str, place: str, reason: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read(changed(old, new))
    mine = [problem for problem in caught.value.problems if problem.startswith(f"{SOURCE}: {place}")]
    assert mine, caught.value.problems
    assert reason in mine[0]
    assert "\n" not in "".join(caught.value.problems)


def test_the_small_catalog_itself_is_good() -> None:
    assert [plan.kind for plan in small().plans] == ["free", "paid"]


def test_what_a_state_leaves_of_a_plan_is_the_plans_word_then_everybodys_then_the_usual() -> None:
    everybodys = '{ unpaid = "read_only", paused = { access = "read_only", seats = "lost" } }'
    both = SMALL.replace('"usd"', f'"usd"\naccess = {everybodys}', 1)
    own = 'access = { paused = "none", canceled = { credits = "frozen" } }\n'
    found = {plan.key: plan.access for plan in read(both.replace(MONTHLY, MONTHLY + own, 1)).plans}
    assert found["pro"] == ACCESS_DEFAULT | {
        "unpaid": StateRights("read_only", seats_kept=True, credits_frozen=True),
        "paused": StateRights("none", seats_kept=False, credits_frozen=True),
        "canceled": StateRights("none", seats_kept=False, credits_frozen=True),
    }
    assert all(access == {} for key, access in found.items() if small().plan(key).kind == "free")  # type: ignore[union-attr]


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        changed(MONTHLY, "monthly_cents = 9.9\n").replace('"#4456d8"', '"blue"').replace("credits = 500", "credits = 0")
    )
    with pytest.raises(CatalogError) as caught:
        read(text)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "portal.accent",
        "plans.pro.monthly_cents",
        "bundles.some.credits",
    ]
    assert "3 mistakes" in str(caught.value)


def test_one_mistake_is_not_told_twice() -> None:
    with pytest.raises(CatalogError) as caught:
        read(changed(MONTHLY, "monthly_cents = 9.9\n"))
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith("The catalog has a mistake:")


@pytest.mark.parametrize("text", ["", "plans = 3", "plans = [1]", "meters = {}", "portal = []", "[[portal]]"])
def test_the_wrong_shape_is_a_list_of_mistakes_and_never_a_crash(text: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read(text)
    assert len(caught.value.problems) >= 2


class TestFiles:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"a = ", "is not TOML"),
            (b"a = 1\na = 2", "is not TOML"),
            (b"\xff\xfe", "is not UTF-8 (byte 0)"),
            (b"a = " + b"[" * 5000, "is not TOML|is nested too deeply"),
            (b"a = " + b"9" * 5000, "is not TOML"),
            (b"#" * 1_000_001, "larger than 1000000 bytes"),
        ],
    )
    def test_what_is_no_catalog_at_all(self, tmp_path: Path, body: bytes, reason: str) -> None:
        path = tmp_path / "mine.toml"
        path.write_bytes(body)
        with pytest.raises(CatalogError) as caught:
            load_catalog(str(path))
        assert any(part in str(caught.value) for part in reason.split("|"))
        assert "mine.toml" in str(caught.value)

    def test_a_path_that_leads_nowhere(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.toml", tmp_path):
            with pytest.raises(CatalogError, match="cannot be read"):
                load_catalog(str(path))

    def test_a_preset_that_there_is_not(self) -> None:
        with pytest.raises(CatalogError, match='did you mean "default"'):
            load_catalog("defualt")

    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text("\ufeff" + SMALL)
        assert load_catalog(str(path)).source == "mine.toml"


class TestOtherProducts:
    """The schema carries products that are nothing like the default one."""

    def test_without_credits(self) -> None:
        text = changed("credits_monthly = 5000\n", "").replace("credits_monthly = 100\n", "")
        assert [plan.credits_monthly for plan in read(text).plans] == [None, None]

    def test_paid_yearly_only(self) -> None:
        text = changed(MONTHLY, "").replace("seat_monthly_cents = 1200", "seat_yearly_cents = 12000")
        pro = read(text).plans[1]
        assert [(price.purpose, price.interval, price.unit_amount_cents) for price in pro.prices("usd")] == [
            ("plan", "year", 99000),
            ("seat", "year", 12000),
            ("metered", "month", 100),
        ]
        assert pro.saving_cents is None

    def test_a_years_seat_is_twelve_months_unless_stated(self) -> None:
        assert small().plans[1].seat_yearly_cents == 14_400
        stated = small("seat_monthly_cents = 1200", "seat_monthly_cents = 1200\nseat_yearly_cents = 12000")
        assert stated.plans[1].seat_yearly_cents == 12_000

    def test_a_limit_that_is_none(self) -> None:
        value = small(FEATURES, 'features = { history = "unlimited" }').plans[1].features["history"]
        assert (value.enabled, value.limit) == (True, None)

    def test_prices_that_stripe_has_already(self) -> None:
        catalog = small(TRIAL, 'lookup_keys = { month = "pro-monthly" }')
        keys = [price.lookup_key for price in catalog.prices()]
        assert keys[0] == "pro-monthly"
        assert keys[1] == "turnpike_seat_pro_month"

    def test_coupons_and_codes(self) -> None:
        catalog = small()
        [coupon], [promotion] = catalog.coupons, catalog.promotion_codes
        assert (coupon.key, coupon.percent_off, coupon.duration) == ("launch", 20, "once")
        assert coupon.applies_to == ("plan:pro", "bundle:some")
        assert (promotion.code, promotion.coupon, promotion.max_redemptions) == ("LAUNCH20", "launch", 100)
        assert promotion.expires_at is not None
        assert promotion.expires_at.isoformat() == "2030-01-31T00:00:00+00:00"

    def test_what_the_checkout_asks_for_is_off_unless_said(self) -> None:
        off, on = small().checkout, small('"usd"', '"usd"\npromotion_codes = true\ntax_ids = true').checkout
        assert not any((off.promotion_codes, off.tax_ids, off.automatic_tax, off.require_terms))
        assert (on.promotion_codes, on.tax_ids) == (True, True)

    def test_another_currency(self) -> None:
        assert small('"usd"', '"jpy"').prices()[0].currency == "jpy"

    def test_free_and_custom_plans_have_no_price_at_stripe(self) -> None:
        custom = '[[plans]]\nkey = "big"\nname = "Big"\npitch = "Ask."\ncustom = true\n[[bundles]]'
        catalog = small("[[bundles]]", custom)
        assert {price.owner_key for price in catalog.prices()} == {"pro", "some"}


class TestPresets:
    @pytest.mark.parametrize("name", preset_names())
    def test_is_good_and_reads_the_same_every_time(self, name: str) -> None:
        assert load_catalog(name) == load_catalog(name)

    def test_the_default_sells_what_is_promised(self) -> None:
        catalog = load_catalog("default")
        sold = {plan.key: (plan.monthly_cents, plan.yearly_cents, plan.credits_monthly) for plan in catalog.plans}
        assert sold == {
            "free": (0, 0, 100),
            "starter": (2900, 29000, 1000),
            "pro": (9900, 99000, 5000),
            "business": (29900, 299000, 20000),
            "enterprise": (None, None, None),
        }
        seats = {plan.key: (plan.seats_included, plan.seat_monthly_cents, plan.trial_days) for plan in catalog.plans}
        assert seats["starter"] == (3, 900, 14)
        assert seats["pro"] == (10, 1200, 14)
        assert seats["business"] == (25, 1000, 0)
        calls = {plan.key: plan.meters.get("api_calls") for plan in catalog.plans}
        assert [(value.included, value.overage_per_1000_cents) for value in calls.values() if value] == [
            (1_000, None),
            (20_000, 150),
            (100_000, 100),
            (500_000, 80),
        ]
        assert [(bundle.credits, bundle.price_cents, bundle.expires_after_months) for bundle in catalog.bundles] == [
            (500, 1_000, None),
            (1_000, 1_800, None),
            (5_000, 8_000, None),
            (10_000, 15_000, None),
        ]
        assert {meter.key: meter.cost_credits for meter in catalog.meters} == {
            "send_email": 1,
            "analyze_lead": 2,
            "generate_campaign": 5,
            "api_calls": None,
        }
        assert (catalog.spend_order, catalog.trial_grant, catalog.zero_invoice_grant) == ("expiry", "full", True)
        assert catalog.upgrade_grant == "difference"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a parsed TOML file."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in places(child, (*path, key)))]


ALL_PLACES = [place for place in places(tomllib.loads(SMALL)) if place]


@given(place=st.sampled_from(ALL_PLACES), value=junk)
def test_whatever_stands_anywhere_is_a_catalog_or_a_list_of_mistakes(place: tuple[Any, ...], value: Any) -> None:
    data = tomllib.loads(SMALL)
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    found = outcome(data)
    if isinstance(found, Catalog):
        keys = [price.lookup_key for price in found.prices()]
        assert len(keys) == len(set(keys))
        assert all(type(price.unit_amount_cents) is int and price.unit_amount_cents > 0 for price in found.prices())
    else:
        assert found
        assert all(problem.startswith(f"{SOURCE}: ") for problem in found)


def outcome(data: dict[str, Any]) -> Catalog | list[str]:
    """The catalog, or what is wrong with it."""
    try:
        return read_catalog(data, SOURCE)
    except CatalogError as error:
        return error.problems
