"""The line items of Checkout Sessions."""

from collections.abc import Sequence

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.parameters import PAGING
from portal.sandbox.registry import Embedded, Included, Resource, fetch, list_object, public, register, render
from portal.sandbox.resources import prices
from portal.sandbox.store import Object, equals


def build(
    session_id: str, price: Object, product: Object, quantity: int, amount: int, tax_rates: Sequence[str] = ()
) -> Object:
    """Return a new line item that is not stored yet; `amount` is what it adds to the sum due today."""
    return {
        "id": ids.new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": product["name"],
        "metadata": {},
        "price": price["id"],
        "quantity": quantity,
        "_session": session_id,
        "_tax_rates": list(tax_rates),
        "_taxes": [],
    }


def of_session(call: Call, session_id: str) -> list[Object]:
    """Return the line items of a session in the order they were sent."""
    return call.store.find("item", [equals("_session", session_id)], oldest_first=True)


def embedded_list(call: Call, session: Object) -> Object:
    """Return the list object that an expanded session carries."""
    data = [render(call, item) for item in of_session(call, session["id"])]
    return list_object(data, f"/v1/checkout/sessions/{session['id']}/line_items")


def _render(call: Call, item: Object) -> Object:
    price = fetch(call, "price", item["price"])
    return public(call, item) | {
        "price": render(call, price),
        "quantity": None if prices.is_metered(price) else item["quantity"],
    }


def _taxes(call: Call, item: Object) -> list[Object]:
    """Return the taxes on a line; for a rate that was named, no reason is told here."""
    stored = fetch(call, "item", item["id"])
    return [
        {
            "amount": tax["amount"],
            "rate": render(call, fetch(call, "tax_rate", tax["tax_rate_details"]["tax_rate"])),
            "taxability_reason": reason if (reason := tax["taxability_reason"]) != "not_available" else None,
            "taxable_amount": tax["taxable_amount"],
        }
        for tax in stored["_taxes"]
    ]


def index(call: Call, values: Values, session_id: str) -> Object:
    """`GET /v1/checkout/sessions/{session}/line_items`."""
    fetch(call, "checkout.session", session_id)
    url = f"/v1/checkout/sessions/{session_id}/line_items"
    return page(call, "item", values, url, [equals("_session", session_id)], oldest_first=True)


register(Resource("item", "line item", {"price": Embedded("price"), "taxes": Included(_taxes)}, _render))
ENDPOINTS = (Endpoint("GET", "/v1/checkout/sessions/{session}/line_items", PAGING, index, "item", lists=True),)
