"""The lines of invoices."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.parameters import PAGING
from portal.sandbox.registry import Nested, Reference, Resource, fetch, list_object, register, render
from portal.sandbox.store import Object, equals

EMBEDDED_MAX = 10


@dataclass(frozen=True)
class LineSource:
    """What a line bills: `amount` in the smallest unit, for a period in epoch seconds.

    `unit_decimal` is what one unit costs where that does not follow from the amount: usage need not be a whole number, nor
    its price. `subscription_item` is None for what is bought once. `invoice_item` is what had been waiting for this invoice, and
    `credited` says which earlier lines a proration gives back. `off` is what the discount of this id takes off, and
    `tax_rates` are the ids of those that are for this line alone.
    """

    currency: str
    quantity: int
    amount: int
    description: str | None
    period: tuple[int, int]
    price: Object | None
    unit_decimal: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None
    invoice_item: str | None = None
    proration: bool = False
    credited: Object | None = None
    discountable: bool = True
    off: int = 0
    discount: str | None = None
    tax_rates: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)


def build(invoice_id: str, source: LineSource) -> Object:
    """Return a new line that is not stored yet."""
    return {
        "id": ids.new_id("il"),
        "object": "line_item",
        "amount": source.amount,
        "currency": source.currency,
        "description": source.description,
        "discount_amounts": [{"amount": source.off, "discount": source.discount}] if source.discount else [],
        "discountable": source.discountable,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": source.metadata,
        "parent": _parent(source),
        "period": {"end": source.period[1], "start": source.period[0]},
        "pretax_credit_amounts": pretax_credits(source.off, source.discount),
        "pricing": _pricing(source),
        "quantity": source.quantity,
        "quantity_decimal": str(source.quantity),
        "subtotal": source.amount,
        "taxes": [],
        "_tax_behavior": source.price["tax_behavior"] if source.price else None,
        "_tax_rates": list(source.tax_rates),
    }


def pretax_credits(off: int, discount: str | None) -> list[Object]:
    """Return what is credited before any tax: what a discount takes off, in the smallest unit."""
    return [{"amount": off, "discount": discount, "type": "discount"}] if discount else []


def _pricing(source: LineSource) -> Object | None:
    if source.price is None:
        return None
    unit = source.unit_decimal or str(source.amount // source.quantity if source.quantity else 0)
    return {
        "price_details": {"price": source.price["id"], "product": source.price["product"]},
        "type": "price_details",
        # A part of a price is no price of its own.
        "unit_amount_decimal": None if source.proration else unit,
    }


def _parent(source: LineSource) -> Object:
    if source.subscription_item is None:
        return {
            "invoice_item_details": {
                "invoice_item": source.invoice_item or ids.new_id("ii"),
                "proration": source.proration,
                "proration_details": {"credited_items": source.credited},
                "subscription": source.subscription,
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": source.invoice_item,
            "proration": source.proration,
            "proration_details": {"credited_items": source.credited},
            "subscription": source.subscription,
            "subscription_item": source.subscription_item,
        },
        "type": "subscription_item_details",
    }


def of_invoice(call: Call, invoice_id: str) -> list[Object]:
    """Return the lines of an invoice in the order they were made."""
    return call.store.find("line_item", [equals("invoice", invoice_id)], oldest_first=True)


def embedded_list(call: Call, invoice_id: str) -> Object:
    """Return the list object that an invoice carries: its first lines."""
    lines = of_invoice(call, invoice_id)
    data = [render(call, line) for line in lines[:EMBEDDED_MAX]]
    listed = list_object(data, f"/v1/invoices/{invoice_id}/lines", has_more=len(lines) > EMBEDDED_MAX)
    return listed | {"total_count": len(lines)}


def index(call: Call, values: Values, invoice_id: str) -> Object:
    """`GET /v1/invoices/{invoice}/lines`."""
    fetch(call, "invoice", invoice_id)
    url = f"/v1/invoices/{invoice_id}/lines"
    return page(call, "line_item", values, url, [equals("invoice", invoice_id)], oldest_first=True)


_PRICING = Nested({"price_details": Nested({"price": Reference("price")})})
register(Resource("line_item", "line item", {"pricing": _PRICING, "discounts": Reference("discount")}))
ENDPOINTS = (Endpoint("GET", "/v1/invoices/{invoice}/lines", PAGING, index, "line_item", lists=True),)
