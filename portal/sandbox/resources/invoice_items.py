"""Invoice items: what waits for a customer's next invoice, made by hand or left behind by a change of plan."""

from dataclasses import dataclass

from portal.sandbox import currencies, events, ids, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of_customer
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Boolean,
    Hash,
    Integer,
    Metadata,
    Text,
    Timestamp,
    merge_metadata,
)
from portal.sandbox.registry import Nested, Reference, Resource, deleted_form, fetch, public, register, render
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Condition, Object, equals
from portal.sandbox.tax_settings import TAX_RATES

CREATE = {
    "amount": Integer(minimum=-AMOUNT_MAX, maximum=AMOUNT_MAX),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "customer": Text(required=True),
    "description": Text(),
    "discountable": Boolean(),
    "metadata": Metadata(),
    "period": Hash(fields={"end": Timestamp(required=True), "start": Timestamp(required=True)}),
    "pricing": Hash(fields={"price": Text()}),
    "quantity": Integer(minimum=0, maximum=999_999),
    "subscription": Text(),
    "tax_rates": TAX_RATES,
}
LIST = CREATED_PAGING | {"customer": Text(), "invoice": Text(), "pending": Boolean()}
_PENDING = Condition("json_extract(body, '$.invoice') IS NULL")


@dataclass(frozen=True)
class Proration:
    """What a change of plan gives back or asks for: an amount for the rest of a period in epoch seconds.

    `credited` is, for what is given back, the invoice item or the invoice line that had billed it.
    """

    item: Object
    price: Object
    quantity: int
    amount: int
    description: str
    period: tuple[int, int]
    credited: Object | None = None


def build(call: Call, customer: Object, currency: str, amount: int, period: tuple[int, int]) -> Object:
    """Return a new invoice item that is not stored yet and belongs to nothing but its customer."""
    return {
        "id": ids.new_id("ii"),
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": call.now(),
        "description": None,
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "net_amount": amount,
        "parent": None,
        "period": {"end": period[1], "start": period[0]},
        "pricing": None,
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": customer["test_clock"],
    }


def _pricing(price: Object, *, whole: bool = True) -> Object:
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"] if whole else None,
    }


def _parent(subscription_id: str, item_id: str | None) -> Object:
    return {
        "subscription_details": {"subscription": subscription_id, "subscription_item": item_id},
        "type": "subscription_details",
    }


def _add(call: Call, item: Object) -> Object:
    call.store.insert("invoiceitem", item)
    events.emit(call, "invoiceitem.created", item)
    return item


def add_proration(call: Call, customer: Object, proration: Proration) -> Object:
    """Let a proration wait for the next invoice of its subscription."""
    built = build(call, customer, proration.price["currency"], proration.amount, proration.period)
    return _add(
        call,
        built
        | {
            "description": proration.description,
            # In flexible billing a proration is net of discounts already.
            "discountable": False,
            "parent": _parent(proration.item["subscription"], proration.item["id"]),
            "pricing": _pricing(proration.price, whole=False),
            "proration": True,
            "proration_details": {"credited_items": proration.credited, "discount_amounts": []},
            "quantity": proration.quantity,
            "quantity_decimal": str(proration.quantity),
            "tax_rates": list(proration.item["tax_rates"]),
        },
    )


def pending(call: Call, customer_id: str, subscription_id: str | None, currency: str | None = None) -> list[Object]:
    """Return what the next invoice of a subscription (or of the customer alone) takes up, oldest first.

    An invoice is in one `currency`; without it, what waits in any is returned.
    """
    wanted = [equals("customer", customer_id), _PENDING, *([equals("currency", currency)] if currency else [])]
    found = call.store.find("invoiceitem", wanted, oldest_first=True)
    return [one for one in found if subscription_of(one) in (None, subscription_id)]


def subscription_of(item: Object) -> str | None:
    """Return the subscription whose invoice an item waits for, or None when any will do."""
    return item["parent"]["subscription_details"]["subscription"] if item["parent"] else None


def as_line(call: Call, item: Object) -> LineSource:
    """Return the invoice line that bills an item."""
    details = (item["parent"] or {}).get("subscription_details", {})
    price_id = item["pricing"]["price_details"]["price"] if item["pricing"] else None
    return LineSource(
        currency=item["currency"],
        price=fetch(call, "price", price_id) if price_id else None,
        quantity=item["quantity"],
        amount=item["amount"],
        description=item["description"],
        period=(item["period"]["start"], item["period"]["end"]),
        subscription=details.get("subscription"),
        subscription_item=details.get("subscription_item"),
        invoice_item=item["id"],
        proration=item["proration"],
        credited=_credited_lines(item),
        discountable=item["discountable"],
        tax_rates=item["tax_rates"],
        metadata=item["metadata"],
    )


def _credited_lines(item: Object) -> Object | None:
    """Return the invoice and the lines that an item gives back, in the form that lines have."""
    credited = (item.get("proration_details") or {}).get("credited_items")
    return credited["invoice_line_item_details"] if credited else None


def take_up(call: Call, item_id: str, invoice_id: str) -> None:
    """Note on an item that an invoice bills it."""
    item = call.store.get("invoiceitem", item_id)
    if item is not None:
        call.store.save(item | {"invoice": invoice_id})


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """`POST /v1/invoiceitems`: a sum with its currency, or a number of what has a price."""
    customer = fetch(call, "customer", values["customer"], "customer")
    return render(call, add(call, customer, values))


def add(call: Call, customer: Object, values: Values) -> Object:
    """Store what was asked for and tell of it; returns the stored object."""
    price_id = values.get("pricing", {}).get("price")
    if (price_id is None) == ("amount" not in values):
        raise invalid("Send either amount or pricing[price].", "amount", "parameter_missing")
    subscription = _subscription(call, customer, values)
    price = fetch(call, "price", price_id, "pricing[price]") if price_id else None
    if price is not None and price["recurring"] is not None:
        raise invalid("The price is recurring; an invoice item is paid once.", "pricing[price]")
    currency = str(price["currency"] if price else values.get("currency") or customer["currency"] or "").lower()
    if not currency:
        raise invalid("An amount needs a currency.", "currency", "parameter_missing")
    if subscription is not None and subscription["currency"] != currency:
        raise invalid(f"The subscription is in {subscription['currency']}, and the item in {currency}.", "currency")
    currencies.require(call, customer["id"], currency, "pricing[price]" if price else "currency")
    quantity = values.get("quantity", 1)
    period = values.get("period", {"start": call.now(), "end": call.now()})
    if period["end"] < period["start"]:
        raise invalid("The period ends before it starts.", "period[end]")
    amount = price["unit_amount"] * quantity if price else values["amount"]
    built = build(call, customer, currency, amount, (period["start"], period["end"]))
    name = fetch(call, "product", price["product"], with_deleted=True)["name"] if price else None
    return _add(
        call,
        built
        | {
            "description": values.get("description", name),
            "discountable": values.get("discountable", amount >= 0),
            "metadata": merge_metadata({}, values.get("metadata", {})),
            "parent": _parent(subscription["id"], None) if subscription else None,
            "pricing": _pricing(price) if price else None,
            "quantity": quantity if price else 1,
            "quantity_decimal": str(quantity if price else 1),
            "tax_rates": tax_settings.named(call, values.get("tax_rates"), "tax_rates"),
        },
    )


def _subscription(call: Call, customer: Object, values: Values) -> Object | None:
    if "quantity" in values and "amount" in values:
        raise invalid("quantity goes with a price, not with an amount.", "quantity")
    if "subscription" not in values:
        return None
    subscription = fetch(call, "subscription", values["subscription"], "subscription")
    if subscription["customer"] != customer["id"]:
        raise invalid("The subscription belongs to another customer.", "subscription")
    return subscription


def retrieve(call: Call, _: Values, item_id: str) -> Object:
    """`GET /v1/invoiceitems/{invoiceitem}`."""
    return render(call, fetch(call, "invoiceitem", item_id))


def delete(call: Call, _: Values, item_id: str) -> Object:
    """`DELETE /v1/invoiceitems/{invoiceitem}`: only what no invoice has taken up."""
    item = fetch(call, "invoiceitem", item_id)
    if item["invoice"] is not None:
        raise invalid("The item stands on an invoice already and can no longer be deleted.")
    call.store.delete(item_id)
    events.emit(call, "invoiceitem.deleted", item)
    return deleted_form(item)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/invoiceitems`."""
    filters = member_equals(values, "customer", "invoice")
    if "pending" in values:
        filters.append(_PENDING if values["pending"] else Condition("json_extract(body, '$.invoice') IS NOT NULL"))
    return page(call, "invoiceitem", values, "/v1/invoiceitems", filters)


def _render(call: Call, item: Object) -> Object:
    return public(call, item) | {"tax_rates": tax_settings.shown(call, item["tax_rates"])}


register(
    Resource(
        "invoiceitem",
        "invoiceitem",
        {
            "customer": Reference("customer"),
            "discounts": Reference("discount"),
            "invoice": Reference("invoice"),
            "pricing": Nested({"price_details": Nested({"price": Reference("price")})}),
            "test_clock": Reference("test_helpers.test_clock"),
        },
        _render,
    )
)
_ONE = "/v1/invoiceitems/{invoiceitem}"
ENDPOINTS = (
    Endpoint("POST", "/v1/invoiceitems", CREATE, create, "invoiceitem"),
    Endpoint("GET", "/v1/invoiceitems", LIST, index, "invoiceitem", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "invoiceitem"),
    Endpoint("DELETE", _ONE, {}, delete, "invoiceitem"),
)
