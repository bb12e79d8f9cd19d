"""Lines of metered use in plain words, whatever Stripe calls its tiers."""

from __future__ import annotations

import pytest

from portal.billing import metered_words
from portal.billing.metered_words import Said, invoice_words, line_words
from portal.catalog.metered_queries import MeteredPrice


def priced(included: int = 10_000) -> MeteredPrice:
    return MeteredPrice("prc_1", "pro", "api_calls", "API calls", included, 100, "usd", "price_m")


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two metered prices, and nothing else."""
    known = {"price_m": priced(), "price_all": priced(0)}
    monkeypatch.setattr(metered_words, "metered_for_stripe_price", known.get)


FREE, PAID = "10000 \u00d7 API calls (Tier 1 at $0.00 / month)", "4 \u00d7 API calls (Tier 2 at $0.001 / month)"

CASES = [
    (Said("price_m", FREE, 10_000, 0), "API calls: 10,000 of 10,000 included"),
    (Said("price_m", FREE, 12, 0), "API calls: 12 of 10,000 included"),
    (Said("price_m", PAID, 4, 0), "API calls beyond what is included: 4 at $1.00 USD for 1,000"),
    (Said("price_m", PAID, 2_345, 235), "API calls beyond what is included: 2,345 at $1.00 USD for 1,000"),
    (Said("price_m", "in words we do not know", 9, 1), "API calls beyond what is included: 9 at $1.00 USD for 1,000"),
    (Said("price_m", None, 9, 0), "API calls: 9 of 10,000 included"),
    (Said("price_all", "9 \u00d7 (Tier 1 at $0.001 / month)", 9, 1), "API calls: 9 at $1.00 USD for 1,000"),
    (Said("price_x", "1 \u00d7 Pro", 1, 4_900), "1 \u00d7 Pro"),
    (Said(None, None, None, 5), ""),
]


@pytest.mark.parametrize(("line", "words"), CASES)
def test_a_line_in_words(line: Said, words: str) -> None:
    assert line_words(line) == words


def test_an_invoice_is_named_by_its_plan_and_not_by_a_tier() -> None:
    plan, used = Said("price_x", "1 \u00d7 Pro", 1, 4_900), Said("price_m", FREE, 3, 0)
    assert invoice_words(None, [used, plan]) == "1 \u00d7 Pro"
    assert invoice_words("By hand", [used, plan]) == "By hand"
    assert invoice_words(None, [used]) == "API calls used"
    assert invoice_words(None, []) == ""


@pytest.mark.parametrize(
    ("used", "cents"),
    [
        (0, 0),
        (10_000, 0),
        (10_001, 0),
        (10_004, 0),
        (10_005, 1),
        (11_000, 100),
        (12_345, 235),
        (10_000 + 10**12, 10**11),
    ],
)
def test_an_overage_is_rounded_as_stripe_rounds_it(used: int, cents: int) -> None:
    assert priced().overage_cents(used) == cents
