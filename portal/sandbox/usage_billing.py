"""Billing what meters have counted: in arrears, by the invoice of the renewal or of the end."""

from decimal import ROUND_HALF_UP, Decimal

from portal.sandbox import metering
from portal.sandbox.billing_lines import product_name
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import billing_meters, prices
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object
from portal.sandbox.wording import unit_price


def lines(call: Call, subscription: Object, items: list[Object]) -> list[LineSource]:
    """Return a line for each metered item: its usage from the begin of its period until now, or until its end.

    The usage of a trial is free.
    """
    if subscription["status"] == "trialing":
        return []
    metered = [(item, fetch(call, "price", item["price"])) for item in items]
    return [_line(call, subscription, item, price) for item, price in metered if prices.is_metered(price)]


def _line(call: Call, subscription: Object, item: Object, price: Object) -> LineSource:
    start, end = item["current_period_start"], min(item["current_period_end"], call.now())
    meter = fetch(call, billing_meters.TYPE, price["recurring"]["meter"])
    found = metering.events_between(call, meter, subscription["customer"], start, end)
    # What was corrected below nothing is not paid out.
    usage = max(metering.aggregate(meter, found), Decimal(0))
    amount = (usage * price["unit_amount"]).quantize(Decimal(1), ROUND_HALF_UP)
    return LineSource(
        currency=price["currency"],
        price=price,
        quantity=int(usage),
        amount=int(amount),
        description=f"{usage.normalize():f} \u00d7 {product_name(call, price)} (at {unit_price(price)})",
        period=(start, end),
        subscription=subscription["id"],
        subscription_item=item["id"],
        tax_rates=item["tax_rates"],
    )
