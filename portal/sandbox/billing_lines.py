"""What an invoice is to bill, line by line: a period of a plan, what is bought once, and what a discount takes off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from portal.sandbox import discounting
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import discounts, prices
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.rounding import part_of
from portal.sandbox.store import Object
from portal.sandbox.wording import unit_price


@dataclass(frozen=True)
class OrderLine:
    """A price that is bought, how many of it, and what a discount takes off the first payment, in the smallest unit."""

    price: Object
    quantity: int
    off: int = 0
    tax_rates: Sequence[str] = ()
    metadata: Mapping[str, str | None] = field(default_factory=dict)


def recurring(call: Call, item: Object, *, free: bool = False, until: int | None = None) -> LineSource:
    """Return the invoice line for the current period of a subscription's item; it is free in a trial.

    `until` is when the subscription ends: of a period that is cut short by that only a part is billed.
    """
    price = fetch(call, "price", item["price"])
    name, quantity = product_name(call, price), item["quantity"]
    start, end = item["current_period_start"], item["current_period_end"]
    last = until if until is not None and start < until < end else end
    return LineSource(
        currency=price["currency"],
        price=price,
        quantity=quantity,
        amount=0 if free else part_of(prices.cost(price, quantity), last - start, end - start),
        description=f"Trial period for {name}" if free else f"{quantity} \u00d7 {name} (at {unit_price(price)})",
        period=(start, last),
        subscription=item["subscription"],
        subscription_item=item["id"],
        tax_rates=item["tax_rates"],
    )


def once(call: Call, line: OrderLine, subscription_id: str | None) -> LineSource:
    """Return the invoice line of what is bought once."""
    return LineSource(
        currency=line.price["currency"],
        price=line.price,
        quantity=line.quantity,
        amount=line.price["unit_amount"] * line.quantity,
        description=product_name(call, line.price),
        period=(call.now(), call.now()),
        subscription=subscription_id,
        tax_rates=line.tax_rates,
    )


def product_name(call: Call, price: Object) -> str:
    """Return what a price is called on invoices; a product that was deleted keeps its name there."""
    return str(fetch(call, "product", price["product"], with_deleted=True)["name"])


def discounted(source: LineSource, off: int, discount: Object) -> LineSource:
    """Return the line with what a discount takes off it, in the smallest unit."""
    return replace(source, off=off, discount=discount["id"])


def less_discount(
    call: Call, subscription: Object, sources: Sequence[LineSource], *, lasting: bool = False
) -> list[LineSource]:
    """Take the subscription's discount off its lines, as long as it lasts. Prorations are net of it already.

    `lasting` leaves out a discount that is for one invoice only.
    """
    discount = discount_of(call, subscription)
    if lasting and discount is not None and coupon_of(call, discount)["duration"] == "once":
        discount = None
    open_to = [source for source in sources if source.discountable]
    if discount is None or not open_to:
        return list(sources)
    parts = iter(discounting.shares(coupon_of(call, discount), [(one.price, one.amount) for one in open_to]))
    return [discounted(one, next(parts), discount) if one.discountable else one for one in sources]


def discount_of(call: Call, subscription: Object) -> Object | None:
    """Return the discount that a subscription has at this instant."""
    found = [fetch(call, "discount", discount_id) for discount_id in subscription["discounts"]]
    return next((one for one in found if discounts.lasts(call, one)), None)


def coupon_of(call: Call, discount: Object) -> Object:
    """Return what a discount takes off; its coupon may have been deleted meanwhile."""
    return fetch(call, "coupon", discount["source"]["coupon"], with_deleted=True)
