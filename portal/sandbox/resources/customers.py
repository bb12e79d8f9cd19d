"""Customers."""

from copy import deepcopy

from portal.sandbox import events, ids, schedule_phases, tax_location
from portal.sandbox.addresses import ADDRESS, SHIPPING, address, shipping
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, call_for
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.parameters import (
    CREATED_PAGING,
    Array,
    Choice,
    Email,
    Hash,
    Integer,
    Metadata,
    Text,
    merge_metadata,
)
from portal.sandbox.registry import (
    Embedded,
    Included,
    Nested,
    Reference,
    Resource,
    deleted_form,
    fetch,
    register,
    render,
)
from portal.sandbox.resources import payment_methods, subscriptions, tax_ids
from portal.sandbox.store import Condition, Object, equals

_CUSTOM_FIELD = Hash(fields={"name": Text(required=True, max_length=40), "value": Text(required=True, max_length=140)})
_INVOICE_SETTINGS = Hash(
    fields={
        "custom_fields": Array(item=_CUSTOM_FIELD, max_items=4, unsettable=True),
        "default_payment_method": Text(unsettable=True),
        "footer": Text(unsettable=True),
    }
)
_COMMON = {
    "address": Hash(fields=ADDRESS, unsettable=True),
    "balance": Integer(),
    "business_name": Text(unsettable=True, max_length=150),
    "description": Text(unsettable=True),
    "email": Email(unsettable=True),
    "individual_name": Text(unsettable=True, max_length=150),
    "invoice_prefix": Text(pattern="[A-Z0-9]{3,12}"),
    "invoice_settings": _INVOICE_SETTINGS,
    "metadata": Metadata(),
    "name": Text(unsettable=True, max_length=256),
    "next_invoice_sequence": Integer(minimum=1),
    "phone": Text(unsettable=True, max_length=20),
    "preferred_locales": Array(unsettable=True),
    "shipping": SHIPPING,
    "tax_exempt": Choice(options=("exempt", "none", "reverse"), unsettable=True),
}
_PLAIN = (
    "balance",
    "business_name",
    "description",
    "email",
    "individual_name",
    "invoice_prefix",
    "name",
    "next_invoice_sequence",
    "phone",
)
CREATE = _COMMON | {"payment_method": Text(), "source": Text(), "tax_id_data": tax_ids.DATA, "test_clock": Text()}
LIST = CREATED_PAGING | {"email": Text(), "test_clock": Text()}


def build(call: Call, values: Values) -> Object:
    """Return a new customer that is not stored yet."""
    customer: Object = {
        "id": ids.new_id("cus", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "business_name": None,
        "created": call.now(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "individual_name": None,
        "invoice_prefix": ids.invoice_prefix(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": call.test_clock,
    }
    _apply(customer, values)
    return customer


def _apply(customer: Object, values: Values) -> None:
    for name in _PLAIN:
        if name in values:
            customer[name] = values[name]
    if "address" in values:
        customer["address"] = address(values["address"])
    if "shipping" in values:
        customer["shipping"] = shipping(values["shipping"])
    if "metadata" in values:
        customer["metadata"] = merge_metadata(customer["metadata"], values["metadata"])
    if "preferred_locales" in values:
        customer["preferred_locales"] = values["preferred_locales"] or []
    if "tax_exempt" in values:
        customer["tax_exempt"] = values["tax_exempt"] or "none"
    customer["invoice_settings"].update(values.get("invoice_settings", {}))


def _check_default_payment_method(call: Call, customer: Object, values: Values) -> None:
    chosen = values.get("invoice_settings", {}).get("default_payment_method")
    if chosen is not None:
        payment_methods.require_of_customer(call, chosen, customer["id"], "invoice_settings[default_payment_method]")


def add(call: Call, values: Values) -> Object:
    """Store a new customer and tell of it; returns the stored object."""
    customer = call.store.insert("customer", build(call, values))
    events.emit(call, "customer.created", customer)
    return customer


def create(call: Call, values: Values) -> Object:
    """`POST /v1/customers`."""
    if "test_clock" in values:
        clock = fetch(call, "test_helpers.test_clock", values.pop("test_clock"), "test_clock")
        call = call_for(call, {"test_clock": clock["id"]})
    payment_method, source = values.pop("payment_method", None), values.pop("source", None)
    settings, numbers = values.pop("invoice_settings", {}), values.pop("tax_id_data", [])
    customer = add(call, values)
    for one in numbers:
        tax_ids.add(call, customer, one["type"], one["value"])
    if payment_method is not None:
        found = payment_methods.find_or_make(call, payment_method, "payment_method")
        payment_methods.attach_to(call, found, customer)
        if settings.get("default_payment_method") == payment_method:
            settings["default_payment_method"] = found["id"]  # a stock id names the card that was made of it
    if source is not None:
        card = payment_methods.make_of_token(call, source, "source")
        payment_methods.attach_to(call, card, customer)
        customer["default_source"] = card["id"]
        call.store.save(customer)
    if settings:
        return update(call, {"invoice_settings": settings}, customer["id"])
    return render(call, customer)


def retrieve(call: Call, _: Values, customer_id: str) -> Object:
    """`GET /v1/customers/{customer}`; a deleted customer answers with no more than that."""
    return render(call, fetch(call, "customer", customer_id, with_deleted=True))


@by_clock_of("customer")
def update(call: Call, values: Values, customer_id: str) -> Object:
    """`POST /v1/customers/{customer}`."""
    customer = fetch(call, "customer", customer_id)
    before = render(call, deepcopy(customer))
    _check_default_payment_method(call, customer, values)
    _apply(customer, values)
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return render(call, customer)


@by_clock_of("customer")
def delete(call: Call, _: Values, customer_id: str) -> Object:
    """`DELETE /v1/customers/{customer}`: ends the customer's subscriptions at once and keeps the id as deleted.

    A schedule that is to begin one later begins none.
    """
    customer = fetch(call, "customer", customer_id)
    schedule_phases.call_off_all_of(call, customer_id)
    subscriptions.cancel_all_of(call, customer_id)
    events.emit(call, "customer.deleted", customer)
    call.store.save(customer | {"deleted": True})
    return deleted_form(customer)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/customers`."""
    present = Condition("json_extract(body, '$.deleted') IS NULL")
    # Those on a test clock are listed only when it is named.
    here = equals("test_clock", values.get("test_clock"))
    return page(call, "customer", values, "/v1/customers", [present, here, *member_equals(values, "email")])


def _subscriptions(call: Call, customer: Object) -> Object:
    return subscriptions.index(call, {"customer": customer["id"]})


def _tax_ids(call: Call, customer: Object) -> Object:
    return tax_ids.index(call, {}, customer["id"])


def _invoice_credit_balance(_: Call, customer: Object) -> Object:
    """Return what a customer has to their credit, by currency: `balance` counts the other way round.

    There is one currency, once something has been billed in it.
    """
    return {customer["currency"]: -customer["balance"]} if customer["currency"] and customer["balance"] else {}


register(
    Resource(
        "customer",
        "customer",
        {
            "invoice_credit_balance": Included(_invoice_credit_balance),
            "invoice_settings": Nested({"default_payment_method": Reference("payment_method")}),
            "tax": Included(tax_location.told),
            "test_clock": Reference("test_helpers.test_clock"),
            "subscriptions": Included(_subscriptions, {"data": Embedded("subscription")}),
            "tax_ids": Included(_tax_ids, {"data": Embedded("tax_id")}),
        },
    )
)
ENDPOINTS = (
    Endpoint("POST", "/v1/customers", CREATE, create, "customer"),
    Endpoint("GET", "/v1/customers", LIST, index, "customer", lists=True),
    Endpoint("GET", "/v1/customers/{customer}", {}, retrieve, "customer"),
    Endpoint("POST", "/v1/customers/{customer}", _COMMON, update, "customer"),
    Endpoint("DELETE", "/v1/customers/{customer}", {}, delete, "customer"),
)
