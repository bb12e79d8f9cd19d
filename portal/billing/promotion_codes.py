"""The promotion code that somebody typed, looked up at Stripe: it knows which ones still work."""

from __future__ import annotations

from portal.billing.checkout_order import CheckoutRefused
from portal.billing.gateway import Gateway, InvalidRequest
from portal.catalog.coupon_reading import CODE
from portal.core.limits import Quota, count, wait_seconds

# Wrong ones, of a team: many more than typing errors, and far too few to find a code by trying.
WRONG_CODES = Quota("promotion-codes", "10 per hour")


def find_promotion_code(gateway: Gateway, team_id: str, code: str) -> str:
    """Stripe's id of a promotion code that works now. Raises `CheckoutRefused` with the reason why there is none.

    Whether it fits this order and this customer only Stripe can say, when the page is made. After too many wrong ones
    the team's codes are not looked at any more for a while, right or wrong.
    """
    if wait_seconds(WRONG_CODES, team_id):
        raise CheckoutRefused("too_many_codes")
    try:
        return _active(gateway, code)
    except CheckoutRefused:
        count(WRONG_CODES, team_id)
        raise


def _active(gateway: Gateway, code: str) -> str:
    if not CODE.fullmatch(code):
        raise CheckoutRefused("code_unknown")
    found = gateway.promotion_codes(code)
    if not found:
        raise CheckoutRefused("code_unknown")
    active = [str(promotion["id"]) for promotion in found if promotion["active"]]
    if not active:
        raise CheckoutRefused("code_ended")
    return active[0]


def is_about_code(error: InvalidRequest) -> bool:
    """Whether Stripe refused the promotion code; what else it refuses is not the buyer's to put right."""
    code = error.code or ""
    return (error.param or "").startswith("discounts") or "coupon" in code or "promotion_code" in code
