"""Discounts: a coupon at work for one subscription or one invoice."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import Nested, Reference, Resource, register
from portal.sandbox.store import Object


def build(call: Call, coupon: Object, promotion_code: str | None, session: Object) -> Object:
    """Return the discount of a paid checkout; the caller names the subscription and the invoice it is for."""
    now = call.now()
    months = coupon["duration_in_months"]
    return {
        "id": ids.new_id("di"),
        "object": "discount",
        "checkout_session": session["id"],
        "customer": session["customer"],
        "customer_account": None,
        "end": add_interval(now, "month", months) if months else None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": promotion_code,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": now,
        "subscription": None,
        "subscription_item": None,
    }


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
