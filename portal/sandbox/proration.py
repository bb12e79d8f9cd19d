"""Proration to the second: what the unused rest of a period gives back, and what the rest of it costs.

As flexible billing does it: what is given back is a part of what was billed for that time, net of discounts, whatever
the price says meanwhile. Half a unit is rounded away from zero, each line by itself.
"""

from portal.sandbox.billing_lines import less_discount, product_name, recurring
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, invoice_lines
from portal.sandbox.resources.invoice_items import Proration
from portal.sandbox.rounding import part_of
from portal.sandbox.store import Object
from portal.sandbox.wording import short_date


def give_back(call: Call, customer: Object, item: Object, at: int) -> Object | None:
    """Credit what was billed for an item's time after `at`; returns what waits, or None when nothing was billed."""
    billed = item.get("_billed")
    if billed is None or not billed["start"] <= at < billed["end"]:
        return None
    price = fetch(call, "price", item["price"])
    proration = Proration(
        item=item,
        price=price,
        quantity=item["quantity"],
        amount=-part_of(billed["amount"], billed["end"] - at, billed["end"] - billed["start"]),
        description=f"Unused time on {_what(call, item, price)} after {short_date(at)}",
        period=(at, billed["end"]),
        credited=_credited(call, billed),
    )
    return invoice_items.add_proration(call, customer, proration)


def ask_for(call: Call, customer: Object, item: Object, net: int, at: int, until: int | None = None) -> Object:
    """Bill an item's time from `at` to the end of its period, or `until` an instant before that.

    `net` is what its whole period costs. Returns the item as it was saved.
    """
    start, end = item["current_period_start"], item["current_period_end"]
    if item.get("_whole") and item["_whole"][1] == end:
        start = item["_whole"][0]  # It began within a period that was fixed by the billing day.
    last = min(end, until or end)
    if at >= last:
        return item  # The period is over, and the renewal bills the next.
    price = fetch(call, "price", item["price"])
    amount = part_of(net, last - at, end - start)
    proration = Proration(
        item=item,
        price=price,
        quantity=item["quantity"],
        amount=amount,
        description=f"Remaining time on {_what(call, item, price)} after {short_date(at)}",
        period=(at, last),
    )
    waiting = invoice_items.add_proration(call, customer, proration)
    billed = {"amount": amount, "start": at, "end": last, "invoice_item": waiting["id"]}
    return call.store.save(item | {"_billed": billed})


def _what(call: Call, item: Object, price: Object) -> str:
    name = product_name(call, price)
    return name if item["quantity"] == 1 else f"{item['quantity']} \u00d7 {name}"


def _credited(call: Call, billed: Object) -> Object:
    """Return where it stands what is given back: on lines of an invoice, or in an item that waits for one."""
    lines = None
    if "line" in billed:
        lines = {"invoice": billed["invoice"], "invoice_line_items": [billed["line"]]}
    else:
        waiting = call.store.get("invoiceitem", billed["invoice_item"])
        if waiting is not None and waiting["invoice"] is not None:
            lines = {
                "invoice": waiting["invoice"],
                "invoice_line_items": [
                    line["id"]
                    for line in invoice_lines.of_invoice(call, waiting["invoice"])
                    if line["parent"]["subscription_item_details"]
                    and line["parent"]["subscription_item_details"]["invoice_item"] == waiting["id"]
                ],
            }
    return {
        "invoice_item": None if lines else billed["invoice_item"],
        "invoice_line_item_details": lines,
        "type": "invoice_line_items" if lines else "invoice_item",
    }


def nets(call: Call, subscription: Object, items: list[Object]) -> dict[str, int]:
    """Return by item what its whole period costs, net of the discount that lasts."""
    lines = less_discount(call, subscription, [recurring(call, item) for item in items], lasting=True)
    return {str(line.subscription_item): line.amount - line.off for line in lines}
