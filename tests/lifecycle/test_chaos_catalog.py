"""The catalog on its way to a Stripe that fails at each kind of call once: run again, everything is there once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.billing.catalog_sync import sync_catalog
from portal.billing.coupon_sync import sync_coupons
from portal.billing.gateway import Gateway, GatewayError
from portal.billing.portal_configuration import sync_portal_configuration
from portal.core.unit_of_work import end_read
from portal.sandbox.chaos.rules import CALL_FAULTS
from tests.lifecycle.test_catalog_sync import (  # noqa: F401  their fixtures: a Stripe where nothing is yet
    DEFAULT,
    PRODUCTS,
    all_at_stripe,
    app,
    both_agree,
    gateway,
    shop,
    stripe_url,
)
from tests.lifecycle.test_coupon_sync import CODE, LAUNCH
from tests.trouble import call_fault, configure_chaos

CALLS = ("products", "prices", "coupons", "promotion_codes", "billing_portal/configurations")
FILE = replace(DEFAULT, coupons=(LAUNCH,), promotion_codes=(CODE,))
RUNS_MAX = 1 + 2 * len(CALLS)


@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_a_sync_that_meets_faults_is_run_again_and_makes_nothing_twice(
    gateway: Gateway,  # noqa: F811  the fixture of that name
    stripe_url: str,  # noqa: F811  the fixture of that name
    fault: str,
) -> None:
    rules = [call_fault(fault, f"POST /v1/{call}", skip=int(call == "prices"), milliseconds=5) for call in CALLS]
    configure_chaos(stripe_url, rules=rules)
    for _ in range(RUNS_MAX):
        if sync(gateway):
            break
    assert all(rule["struck"] == 1 for rule in configure_chaos(stripe_url, "GET")["rules"])
    both_agree(gateway)
    end_read()
    assert len(all_at_stripe(gateway, "products")) == PRODUCTS
    assert [coupon["name"] for coupon in gateway.coupons()] == [LAUNCH.name]
    assert [code["code"] for code in gateway.promotion_codes()] == [CODE.code]
    assert len(gateway.portal_configurations()) == 1


def sync(gateway: Gateway) -> bool:  # noqa: F811  the fixture of that name
    """Run it as the command does; says whether all of it is done."""
    try:
        sync_catalog(gateway, FILE)
        sync_coupons(gateway, FILE)
        sync_portal_configuration(gateway, FILE, "http://localhost:8000")
    except GatewayError:
        return False
    finally:
        end_read()
    return True
