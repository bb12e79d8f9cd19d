"""What Stripe is asked for: by the catalog's options, and what it would refuse is never sent together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portal.billing.checkout_order import Buyer, Order, ReturnAddresses
from portal.billing.checkout_params import page_params
from portal.billing.models import Checkout
from portal.catalog.definition import CheckoutOptions
from portal.catalog.queries import BundlePrice, PlanPrice
from tests.contract.request_annotations import parameter_classes

BUNDLE = BundlePrice("prc_1", "credits_500", "500 credits", 500, None, 1_000, "usd", "price_500")
PLAN = PlanPrice("prc_2", "pro", "Pro", "plan", "month", 9_900, "usd", "price_pro", True, 14, 5_000)
BACK = ReturnAddresses("https://a/{checkout_id}", "https://a/{checkout_id}?canceled=1")
PERSON, KEY = Buyer(user_id="user_1"), Buyer(api_key_id="key_1")
NOTHING = CheckoutOptions()
CREATE_PARAMS = "stripe.params.checkout._session_create_params"
EVERYTHING = CheckoutOptions(promotion_codes=True, tax_ids=True, automatic_tax=True, require_terms=True)


def params(item: PlanPrice | BundlePrice, options: CheckoutOptions = NOTHING, **order: Any) -> dict[str, Any]:
    bundle = isinstance(item, BundlePrice)
    what = {"bundle_key": "credits_500", "credits": 500} if bundle else {"plan_key": "pro"}
    checkout = Checkout(id="chk_1", team_id="team_1", **what)
    return page_params(checkout, Order(item, **order), PERSON, "cus_1", BACK, options)


def test_a_bundle_is_paid_once_and_its_payment_says_whose_it_is() -> None:
    asked = params(BUNDLE)
    assert asked["mode"] == "payment"
    assert asked["line_items"] == [{"price": "price_500", "quantity": 1}]
    assert asked["payment_intent_data"]["metadata"] == asked["metadata"]
    assert asked["metadata"] == {
        "team_id": "team_1", "user_id": "user_1", "checkout_id": "chk_1", "source": "turnpike",
        "bundle": "credits_500", "credits": "500",
    }  # fmt: skip
    assert asked["success_url"] == "https://a/chk_1"


def test_a_key_is_named_where_no_person_ordered() -> None:
    checkout = Checkout(id="chk_1", team_id="team_1", plan_key="pro")
    asked = page_params(checkout, Order(PLAN), KEY, "cus_1", BACK, CheckoutOptions())
    assert asked["metadata"]["api_key_id"] == "key_1"
    assert "user_id" not in asked["metadata"]


def test_nothing_is_asked_for_that_the_catalog_does_not_say() -> None:
    extra = {"automatic_tax", "tax_id_collection", "consent_collection", "customer_update", "allow_promotion_codes"}
    assert not extra & params(PLAN).keys()


@pytest.mark.parametrize("item", [PLAN, BUNDLE])
def test_taxes_complete_the_customer_that_is_there_already(item: PlanPrice | BundlePrice) -> None:
    """Stripe refuses both for an existing customer unless the page may complete it."""
    asked = params(item, EVERYTHING)
    assert asked["automatic_tax"] == {"enabled": True}
    assert asked["tax_id_collection"] == {"enabled": True}
    assert asked["customer_update"] == {"address": "auto", "name": "auto"}
    assert asked["consent_collection"] == {"terms_of_service": "required"}
    assert params(item, replace(EVERYTHING, tax_ids=False))["customer_update"] == {"address": "auto"}
    assert params(item, replace(EVERYTHING, automatic_tax=False))["customer_update"] == {"name": "auto"}


def test_a_code_is_given_or_asked_for_and_never_both() -> None:
    assert params(BUNDLE, EVERYTHING)["allow_promotion_codes"] is True
    given = params(BUNDLE, EVERYTHING, promotion_code="LAUNCH20", discount="promo_1")
    assert given["discounts"] == [{"promotion_code": "promo_1"}]
    assert "allow_promotion_codes" not in given


def test_a_used_trial_is_not_given_again_and_the_page_says_so() -> None:
    assert params(PLAN)["subscription_data"]["trial_period_days"] == 14
    assert "custom_text" not in params(PLAN)
    checkout = Checkout(id="chk_1", team_id="team_1", plan_key="pro")
    for item, said in ((PLAN, True), (replace(PLAN, trial_days=0), False)):
        asked = page_params(checkout, Order(item), PERSON, "cus_1", BACK, NOTHING, trial_used=True)
        assert "trial_period_days" not in asked["subscription_data"]
        assert ("custom_text" in asked) == said
        assert unknown(asked, "SessionCreateParams", parameter_classes(CREATE_PARAMS)) == []


@pytest.mark.parametrize("item", [PLAN, BUNDLE])
def test_every_parameter_is_one_that_the_sdk_may_send(item: PlanPrice | BundlePrice) -> None:
    classes = parameter_classes(CREATE_PARAMS)
    for asked in (params(item, EVERYTHING), params(item, discount="promo_1")):
        assert unknown(asked, "SessionCreateParams", classes) == []


def unknown(value: Any, name: str, classes: dict[str, Any]) -> list[str]:
    """The paths in `value` that the SDK's type has no field for."""
    found: list[str] = []
    for key, inner in value.items():
        field = classes[name].get(key)
        if field is None:
            found.append(f"{name}.{key}")
        elif field.members:
            parts = inner if isinstance(inner, list) else [inner]
            found += [path for part in parts for path in unknown(part, field.members, classes)]
    return found
