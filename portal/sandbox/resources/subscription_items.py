"""Subscription items: what a subscription is made of, and the period each is paid for."""

from collections.abc import Sequence

from portal.sandbox import ids, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.parameters import PAGING, Text
from portal.sandbox.registry import Embedded, Resource, fetch, list_object, public, register, render
from portal.sandbox.resources import prices
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object, equals

LIST = PAGING | {"subscription": Text(required=True)}


def build(
    call: Call,
    subscription_id: str,
    price_id: str,
    quantity: int,
    period: tuple[int, int],
    tax_rates: Sequence[str] = (),
) -> Object:
    """Return a new item that is not stored yet; `period` is its start and end in epoch seconds."""
    return {
        "id": ids.new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": call.now(),
        "current_period_end": period[1],
        "current_period_start": period[0],
        "discounts": [],
        "metadata": {},
        "price": price_id,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": list(tax_rates),
    }


def note_billed(call: Call, source: LineSource, line: Object) -> None:
    """Keep with an item what was billed for its period, net of discounts: a later change gives back a part of that.

    What was used is not given back.
    """
    item = call.store.get("subscription_item", source.subscription_item or "")
    if item is not None and not (source.price and prices.is_metered(source.price)):
        start, end = source.period
        billed = {"amount": source.amount - source.off, "start": start, "end": end, "line": line["id"]}
        call.store.save(item | {"_billed": billed | {"invoice": line["invoice"]}})


def of_subscription(call: Call, subscription_id: str) -> list[Object]:
    """Return the stored items of a subscription in the order they were made."""
    return call.store.find("subscription_item", [equals("subscription", subscription_id)], oldest_first=True)


def embedded_list(call: Call, subscription_id: str) -> Object:
    """Return the list object that a subscription carries."""
    data = [render(call, item) for item in of_subscription(call, subscription_id)]
    url = f"/v1/subscription_items?subscription={subscription_id}"
    return list_object(data, url) | {"total_count": len(data)}


def _render(call: Call, item: Object) -> Object:
    price = fetch(call, "price", item["price"])
    shown = public(call, item) | {
        "plan": prices.as_plan(price),
        "price": render(call, price),
        "tax_rates": tax_settings.shown(call, item["tax_rates"]),
    }
    # Of usage nobody orders a number.
    return {name: value for name, value in shown.items() if name != "quantity"} if prices.is_metered(price) else shown


def retrieve(call: Call, _: Values, item_id: str) -> Object:
    """`GET /v1/subscription_items/{item}`."""
    return render(call, fetch(call, "subscription_item", item_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/subscription_items`."""
    subscription = fetch(call, "subscription", values["subscription"], "subscription")
    filters = [equals("subscription", subscription["id"])]
    return page(call, "subscription_item", values, "/v1/subscription_items", filters, oldest_first=True)


register(Resource("subscription_item", "subscription_item", {"price": Embedded("price")}, _render))
ENDPOINTS = (
    Endpoint("GET", "/v1/subscription_items", LIST, index, "subscription_item", lists=True),
    Endpoint("GET", "/v1/subscription_items/{item}", {}, retrieve, "subscription_item"),
)
