"""What Stripe is asked for when a checkout page is to be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal.billing.checkout_order import Buyer, Order, ReturnAddresses
from portal.billing.models import Checkout
from portal.catalog.definition import CheckoutOptions
from portal.catalog.pricing_page import TRIAL_USED
from portal.catalog.queries import PlanPrice

Json = dict[str, Any]


def page_params(
    checkout: Checkout,
    order: Order,
    buyer: Buyer,
    customer_id: str,
    addresses: ReturnAddresses,
    options: CheckoutOptions,
    *,
    metered: Sequence[str] = (),
    trial_used: bool = False,
) -> Json:
    """The parameters of the page. All that is said of the price is which one it is: Stripe knows its amount.

    `metered` are Stripe's prices of what the plan counts besides, of which nobody orders a number.

    With `trial_used` the plan begins without its trial, and the page says why.
    """
    item = order.item
    metadata = _metadata(checkout, buyer)
    common: Json = {
        "customer": customer_id,
        "client_reference_id": checkout.team_id,
        "line_items": [{"price": item.stripe_price_id, "quantity": 1}, *({"price": price} for price in metered)],
        "metadata": metadata,
        "success_url": addresses.success.format(checkout_id=checkout.id),
        "cancel_url": addresses.cancel.format(checkout_id=checkout.id),
    }
    own = _plan_params(item, metadata, trial_used) if isinstance(item, PlanPrice) else _bundle_params(metadata)
    return common | own | _asked_for(options) | _discount(order.discount, options)


def _asked_for(options: CheckoutOptions) -> Json:
    """What else the page asks the buyer. A customer that exists is only completed by the page when that is said."""
    params: Json = {}
    updates: dict[str, str] = {}
    if options.automatic_tax:
        params["automatic_tax"] = {"enabled": True}
        updates["address"] = "auto"
    if options.tax_ids:
        params["tax_id_collection"] = {"enabled": True}
        updates["name"] = "auto"
    if options.require_terms:
        params["consent_collection"] = {"terms_of_service": "required"}
    return params | ({"customer_update": updates} if updates else {})


def _discount(promotion_code_id: str | None, options: CheckoutOptions) -> Json:
    """A code that was given before the page, or a field for one on it; Stripe refuses both at once."""
    if promotion_code_id is not None:
        return {"discounts": [{"promotion_code": promotion_code_id}]}
    return {"allow_promotion_codes": True} if options.promotion_codes else {}


def _metadata(checkout: Checkout, buyer: Buyer) -> dict[str, str]:
    metadata = {"team_id": checkout.team_id, **buyer.metadata, "checkout_id": checkout.id, "source": "turnpike"}
    if checkout.bundle_key is not None:
        return metadata | {"bundle": checkout.bundle_key, "credits": str(checkout.credits)}
    return metadata | {"plan": str(checkout.plan_key)}


def _plan_params(price: PlanPrice, metadata: dict[str, str], trial_used: bool) -> Json:
    subscription: Json = {"metadata": metadata}
    said: Json = {}
    if price.trial_days and trial_used:
        said = {"custom_text": {"submit": {"message": TRIAL_USED}}}
    elif price.trial_days:
        subscription["trial_period_days"] = price.trial_days
    return said | {
        "mode": "subscription",
        "subscription_data": subscription,
        # A trial asks for the card too: what is free today is paid without asking later.
        "payment_method_collection": "always",
    }


def _bundle_params(metadata: dict[str, str]) -> Json:
    return {
        "mode": "payment",
        "payment_intent_data": {"metadata": metadata},
    }
