"""Billing what meters have counted: in arrears, by the invoice of the renewal, of the end, or of a change of the price."""

from decimal import ROUND_HALF_UP, Decimal

from portal.sandbox import metering
from portal.sandbox.billing_lines import product_name
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import billing_meters, invoice_items, price_tiers, prices
from portal.sandbox.resources.invoice_items import Proration
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.resources.price_tiers import Part
from portal.sandbox.store import Object
from portal.sandbox.wording import every, fine_money, unit_price


def lines(call: Call, subscription: Object, items: list[Object]) -> list[LineSource]:
    """Return the lines of each metered item: its usage from the begin of its period until now, or until its end.

    The usage of a trial is free.
    """
    if subscription["status"] == "trialing":
        return []
    metered = [(item, fetch(call, "price", item["price"])) for item in items]
    return [
        line
        for item, price in metered
        if prices.is_metered(price)
        for line in of_period(
            call, subscription, item["id"], price, period_of(item, min(item["current_period_end"], call.now()))
        )
    ]


def period_of(item: Object, end: int) -> tuple[int, int]:
    """Return from when to when an item's usage is billed; a price that was given meanwhile counts from then."""
    start = max(item["current_period_start"], item.get("_counts_from") or 0)
    return min(start, end), end


def of_period(
    call: Call, subscription: Object, item_id: str, price: Object, period: tuple[int, int]
) -> list[LineSource]:
    """Return the lines that bill an item's usage within a period: one, or one for each tier that it reaches."""
    usage = _usage(call, subscription, price, period)
    return [
        LineSource(
            currency=price["currency"],
            price=price,
            unit_decimal=part.unit_amount_decimal,
            quantity=int(part.units),
            amount=part.amount,
            description=_description(call, price, part),
            period=period,
            subscription=subscription["id"],
            subscription_item=item_id,
            tax_rates=(call.store.get("subscription_item", item_id) or {"tax_rates": []})["tax_rates"],
        )
        for part in _parts(price, usage)
    ]


def settle(call: Call, subscription: Object, customer: Object, item: Object, at: int) -> None:
    """Let what was used at a price that ends wait for the next invoice, as flexible billing does.

    https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup
    """
    price = fetch(call, "price", item["price"])
    period = period_of(item, at)
    for part in _parts(price, _usage(call, subscription, price, period)):
        if not part.units:
            continue
        proration = Proration(
            item=item,
            price=price,
            quantity=int(part.units),
            amount=part.amount,
            description=_description(call, price, part),
            period=period,
        )
        invoice_items.add_proration(call, customer, proration)


def _usage(call: Call, subscription: Object, price: Object, period: tuple[int, int]) -> Decimal:
    meter = fetch(call, billing_meters.TYPE, price["recurring"]["meter"])
    found = metering.events_between(call, meter, subscription["customer"], *period)
    # What was corrected below nothing is not paid out.
    return max(metering.aggregate(meter, found), Decimal(0))


def _parts(price: Object, usage: Decimal) -> list[Part]:
    tiers = price_tiers.of(price)
    if tiers:
        return price_tiers.graduated(tiers, usage)
    amount = (usage * price["unit_amount"]).quantize(Decimal(1), ROUND_HALF_UP)
    return [Part(0, usage, price["unit_amount_decimal"], int(amount))]


def _description(call: Call, price: Object, part: Part) -> str:
    rate = unit_price(price)
    if part.number:
        unit = fine_money(Decimal(part.unit_amount_decimal), price["currency"])
        rate = f"{unit} / {every(price['recurring'])}"
    tier = f"Tier {part.number} " if part.number else ""
    return f"{part.units.normalize():f} \u00d7 {product_name(call, price)} ({tier}at {rate})"
