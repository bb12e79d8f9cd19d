"""Discounts: a coupon at work for one subscription or one invoice."""

from dataclasses import dataclass

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import Nested, Reference, Resource, register
from portal.sandbox.store import Object


@dataclass(frozen=True)
class For:
    """Whom a discount is for: ids of the customer, the subscription, and the checkout it was won in."""

    customer: str | None
    subscription: str | None
    checkout_session: str | None = None


def build(call: Call, coupon: Object, promotion_code: str | None, whom: For) -> Object:
    """Return a new discount that is not stored yet."""
    now = call.now()
    months = coupon["duration_in_months"]
    return {
        "id": ids.new_id("di"),
        "object": "discount",
        "checkout_session": whom.checkout_session,
        "customer": whom.customer,
        "customer_account": None,
        "end": add_interval(now, "month", months) if months else None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": promotion_code,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": now,
        "subscription": whom.subscription,
        "subscription_item": None,
    }


def lasts(call: Call, discount: Object) -> bool:
    """Say whether a discount has not come to its end yet."""
    return bool(discount["end"] is None or discount["end"] > call.now())


register(
    Resource(
        "discount",
        "discount",
        {
            "customer": Reference("customer"),
            "promotion_code": Reference("promotion_code"),
            "source": Nested({"coupon": Reference("coupon")}),
        },
    )
)
ENDPOINTS = ()
