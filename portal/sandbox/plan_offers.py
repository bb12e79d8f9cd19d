"""What the customer portal offers of plans: which prices a subscription may change to, and how many of each.

The rules are those of a portal configuration's `features.subscription_update`.
"""

from dataclasses import dataclass
from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import prices, subscription_items
from portal.sandbox.store import Object

QUANTITY_MAX = 999_999
_CHANGEABLE = ("active", "past_due", "trialing")


@dataclass(frozen=True)
class Offer:
    """A price that can be chosen, and the least and the most of it."""

    price: Object
    product: Object
    minimum: int
    maximum: int

    @property
    def adjustable(self) -> bool:
        """Say whether there is more than one number to choose from."""
        return self.minimum < self.maximum


@dataclass(frozen=True)
class Choice:
    """What a subscription is to become. `discounts` are as parameters have them; None leaves them as they are."""

    price: Object
    quantity: int
    discounts: list[dict[str, Any]] | None = None


class NotOfferedError(Exception):
    """The choice is not on offer; `field` is `price` or `quantity`, and the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def refusal_of(call: Call, subscription: Object) -> str | None:
    """Return why the portal cannot change a subscription at all, or None when it can.

    As at Stripe, one of several items or of metered usage can only be canceled there.
    """
    items = subscription_items.of_subscription(call, subscription["id"])
    if subscription["status"] not in _CHANGEABLE or subscription["pause_collection"] is not None:
        return "This plan is not running. Let it go on before you change it."
    if subscription["cancel_at"] is not None:
        return "This plan is set to end. Keep it before you change it."
    if subscription["schedule"] is not None or subscription["pending_update"] is not None:
        return "A change of this plan is on its way already."
    if len(items) > 1:
        return "This plan is made of several parts, and cannot be changed here."
    if prices.is_metered(fetch(call, "price", items[0]["price"])):
        return "This plan is billed by usage, and cannot be changed here."
    return None


def item_of(call: Call, subscription: Object) -> Object:
    """Return the one item of a subscription that can be changed."""
    return subscription_items.of_subscription(call, subscription["id"])[0]


def offers(call: Call, configuration: Object, subscription: Object) -> list[Offer]:
    """Return the prices that a subscription may have, its own among them where that is listed."""
    update, item = configuration["features"]["subscription_update"], item_of(call, subscription)
    found = []
    for listed in update["products"]:
        product = call.store.get("product", listed["product"])
        for price in (fetch(call, "price", price_id) for price_id in listed["prices"]):
            own = price["id"] == item["price"]
            fits = price["active"] and price["currency"] == subscription["currency"] and not prices.is_metered(price)
            if product is not None and fits and (own or "price" in update["default_allowed_updates"]):
                found.append(Offer(price, product, *_numbers(update, listed, item)))
    return found


def _numbers(update: Object, listed: Object, item: Object) -> tuple[int, int]:
    """Return the least and the most of a product; where the number is not on offer, it stays as it is."""
    adjustable = listed["adjustable_quantity"]
    if "quantity" not in update["default_allowed_updates"] or not adjustable["enabled"]:
        return item["quantity"], item["quantity"]
    return adjustable["minimum"], adjustable["maximum"] or QUANTITY_MAX


def is_changeable(call: Call, configuration: Object, subscription: Object) -> bool:
    """Say whether there is anything to choose for a subscription."""
    update = configuration["features"]["subscription_update"]
    if not update["enabled"] or refusal_of(call, subscription) is not None:
        return False
    item, found = item_of(call, subscription), offers(call, configuration, subscription)
    return "promotion_code" in update["default_allowed_updates"] or any(
        one.adjustable or one.price["id"] != item["price"] for one in found
    )


def choose(
    call: Call, configuration: Object, subscription: Object, price_id: str | None, quantity: int | None
) -> Choice:
    """Return the choice of a price and a number, None being what there is; raises NotOfferedError."""
    item = item_of(call, subscription)
    price_id = item["price"] if price_id is None else price_id
    found = [one for one in offers(call, configuration, subscription) if one.price["id"] == price_id]
    wanted = item["quantity"] if quantity is None else quantity
    if found:
        _check_number(found[0], wanted)
        return Choice(found[0].price, wanted)
    if price_id != item["price"]:
        raise NotOfferedError("price", "This plan is not on offer.")
    if wanted != item["quantity"]:
        raise NotOfferedError("quantity", "The number cannot be changed here.")
    # A discount can be asked for beside a price that is not on offer any more.
    return Choice(fetch(call, "price", price_id), wanted)


def _check_number(offer: Offer, wanted: int) -> None:
    if offer.minimum <= wanted <= offer.maximum:
        return
    name = offer.product["name"]
    if not offer.adjustable:
        raise NotOfferedError("quantity", f"The number cannot be changed here; of {name} it stays {offer.minimum}.")
    if offer.maximum == QUANTITY_MAX:
        raise NotOfferedError("quantity", f"Choose {offer.minimum} or more of {name}.")
    raise NotOfferedError("quantity", f"Choose {offer.minimum} to {offer.maximum} of {name}.")
