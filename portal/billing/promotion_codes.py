"""The promotion code that somebody typed, looked up at Stripe: it knows which ones still work."""

from __future__ import annotations

from portal.billing.checkout_order import CheckoutRefused
from portal.billing.gateway import Gateway
from portal.catalog.coupon_reading import CODE


def find_promotion_code(gateway: Gateway, code: str) -> str:
    """Stripe's id of a promotion code that works now. Raises `CheckoutRefused` with the reason why there is none.

    Whether it fits this order and this customer only Stripe can say, when the page is made.
    """
    if not CODE.fullmatch(code):
        raise CheckoutRefused("code_unknown")
    found = gateway.promotion_codes(code)
    if not found:
        raise CheckoutRefused("code_unknown")
    active = [str(promotion["id"]) for promotion in found if promotion["active"]]
    if not active:
        raise CheckoutRefused("code_ended")
    return active[0]
