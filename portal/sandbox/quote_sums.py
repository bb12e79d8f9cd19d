"""What a quote comes to: in all, with the first invoice, and again and again."""

from dataclasses import dataclass

from portal.sandbox import checkout_taxes, discounting, taxing
from portal.sandbox.billing_lines import coupon_of
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items
from portal.sandbox.store import Condition, Object

# A price is of the one kind or of the other, and the lines of a quote keep its id.
_ONCE = Condition(
    "json_extract(body, '$.price') IN (SELECT id FROM objects AS prices WHERE prices.type = 'price'"
    " AND json_extract(prices.body, '$.recurring') IS NULL)",
    (),
)


@dataclass(frozen=True)
class _Part:
    """A line with its price, and what it adds, before discount and tax, to the sum that is looked at."""

    item: Object
    price: Object
    amount: int


def work_out(call: Call, quote: Object) -> None:
    """Write the sums to a quote and its lines. The caller saves the quote."""
    coupon = _coupon(call, quote)
    items = checkout_items.of_session(call, quote["id"])
    quote["amount_subtotal"] = sum(item["amount_subtotal"] for item in items)
    discounting.take_off(call, quote, coupon)
    priced = [(item, fetch(call, "price", item["price"])) for item in items]
    tried = is_tried(quote)
    at_first = [
        _Part(item, price, 0 if tried and price["recurring"] else item["amount_subtotal"]) for item, price in priced
    ]
    quote["computed"] = {
        "recurring": _recurring(call, quote, priced, coupon),
        "upfront": _sums(call, quote, at_first, coupon),
    }


def _coupon(call: Call, quote: Object) -> Object | None:
    return coupon_of(call, fetch(call, "discount", quote["discounts"][0])) if quote["discounts"] else None


def is_tried(quote: Object) -> bool:
    """Say whether the quoted subscription begins with a trial, so that its first invoice bills nothing of it."""
    return bool(quote["subscription_data"]["trial_period_days"])


def upfront_only(quote: Object) -> list[Condition]:
    """Return what holds for the lines that the first invoice bills."""
    return [_ONCE] if is_tried(quote) else []


def _sums(call: Call, quote: Object, parts: list[_Part], coupon: Object | None) -> Object:
    amounts = [(part.price, part.amount) for part in parts]
    off = discounting.shares(coupon, amounts) if coupon else [0] * len(parts)
    taxes = [
        tax
        for part, less in zip(parts, off, strict=True)
        for tax in checkout_taxes.taxes_of(call, quote, part.item, part.price, part.amount - less)
    ]
    subtotal = sum(part.amount for part in parts)
    return {
        "amount_subtotal": subtotal,
        "amount_total": subtotal - sum(off) + taxing.amount_of(taxes, "exclusive"),
        "total_details": {
            "amount_discount": sum(off),
            "amount_shipping": 0,
            "amount_tax": taxing.amount_of(taxes),
        },
    }


def _recurring(call: Call, quote: Object, priced: list[tuple[Object, Object]], coupon: Object | None) -> Object | None:
    """Return what each later period costs; only a discount for ever is taken off there."""
    parts = [_Part(item, price, item["amount_subtotal"]) for item, price in priced if price["recurring"]]
    if not parts:
        return None
    rhythm = parts[0].price["recurring"]
    sums = _sums(call, quote, parts, coupon if coupon and coupon["duration"] == "forever" else None)
    return sums | {"interval": rhythm["interval"], "interval_count": rhythm["interval_count"]}
