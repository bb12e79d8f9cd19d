"""What a subscription costs each time: its plan with further seats and add-ons, as every page and mail that names a price says it."""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.addons import addon_items, addon_words
from portal.billing.models import Subscription
from portal.billing.seats import seat_items
from portal.catalog.addon_queries import AddonPrice
from portal.core.money import money_words

EVERY = {"month": "a month", "year": "a year"}
# Stripe alone knows what these come to, and only when it bills.
BEFORE = ", before taxes and discounts"


@dataclass(frozen=True)
class RecurringPrice:
    """`cents` is what is paid as often as the plan, in the minor unit. `apart` are the add-ons with an interval of their own."""

    cents: int
    interval: str
    currency: str
    apart: list[tuple[AddonPrice, int]]


def recurring_price(subscription: Subscription) -> RecurringPrice | None:
    """The price before taxes and discounts; None when it is by agreement."""
    if subscription.unit_amount is None:
        return None
    interval, held = subscription.interval or "", addon_items(subscription)
    return RecurringPrice(
        cents=subscription.unit_amount
        + sum(number * cents for number, cents in seat_items(subscription))
        + sum(number * price.unit_amount_cents for price, number in held if price.interval == interval),
        interval=interval,
        currency=subscription.currency,
        apart=[(price, number) for price, number in held if price.interval != interval],
    )


def price_words(price: RecurringPrice) -> str:
    """`$166.00 USD a month and $60.00 USD a year for Another year of history, before taxes and discounts`."""
    parts = [f"{money_words(price.cents, price.currency)} {_every(price.interval)}"]
    parts += [
        f"{money_words(number * addon.unit_amount_cents, price.currency)} {_every(addon.interval)}"
        f" for {addon_words([(addon, number)])}"
        for addon, number in price.apart
    ]
    return " and ".join(parts) + BEFORE


def _every(interval: str) -> str:
    return EVERY.get(interval, "each period")
