"""Prices: one-time or recurring, flat per unit for a quantity; for what a meter counts, flat or in graduated tiers."""

from copy import deepcopy
from typing import Any

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Array,
    Boolean,
    Choice,
    Hash,
    Integer,
    Metadata,
    Text,
    merge_metadata,
)
from portal.sandbox.registry import Included, Reference, Resource, Shape, fetch, register, render
from portal.sandbox.resources import price_tiers, products
from portal.sandbox.store import Object, equals, one_of

INTERVALS = ("day", "month", "week", "year")
CURRENCY = Text(pattern="[A-Za-z]{3}")
_TAX_BEHAVIOR = Choice(options=("exclusive", "inclusive", "unspecified"))
CREATE = {
    "active": Boolean(),
    "billing_scheme": Choice(options=("per_unit", "tiered")),
    "currency": Text(pattern="[A-Za-z]{3}", required=True),
    "lookup_key": Text(max_length=200),
    "metadata": Metadata(),
    "nickname": Text(),
    "product": Text(),
    "product_data": Hash(
        fields={
            "active": Boolean(),
            "id": Text(pattern="[A-Za-z0-9_.-]+"),
            "metadata": Metadata(),
            "name": Text(required=True),
            "statement_descriptor": Text(max_length=22),
            "tax_code": Text(),
            "unit_label": Text(max_length=12),
        }
    ),
    "recurring": Hash(
        fields={
            "interval": Choice(options=INTERVALS, required=True),
            "interval_count": Integer(minimum=1, maximum=1095),
            "meter": Text(),
            "trial_period_days": Integer(minimum=1, maximum=730),
            "usage_type": Choice(options=("licensed", "metered")),
        }
    ),
    "tax_behavior": _TAX_BEHAVIOR,
    "tiers": price_tiers.TIERS,
    "tiers_mode": Choice(options=("graduated",)),
    "transfer_lookup_key": Boolean(),
    "unit_amount": Integer(minimum=0, maximum=AMOUNT_MAX),
    "unit_amount_decimal": Text(pattern=r"[0-9]{1,8}"),
}
UPDATE = {
    "active": Boolean(),
    "lookup_key": Text(max_length=200, unsettable=True),
    "metadata": Metadata(),
    "nickname": Text(unsettable=True),
    "tax_behavior": _TAX_BEHAVIOR,
    "transfer_lookup_key": Boolean(),
}
LIST = CREATED_PAGING | {
    "active": Boolean(),
    "currency": CURRENCY,
    "lookup_keys": Array(max_items=10),
    "product": Text(),
    "recurring": Hash(
        fields={
            "interval": Choice(options=INTERVALS),
            "meter": Text(),
            "usage_type": Choice(options=("licensed", "metered")),
        }
    ),
    "type": Choice(options=("one_time", "recurring")),
}


def build(call: Call, values: Values, product_id: str, unit_amount: int | None) -> Object:
    """Return a new price that is not stored yet; `unit_amount` is in the smallest unit, and None where tiers say it."""
    return {
        "id": ids.new_id("price"),
        "object": "price",
        "active": values.get("active", True),
        "billing_scheme": values.get("billing_scheme", "per_unit"),
        "created": call.now(),
        "currency": values["currency"].lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": values.get("lookup_key"),
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "nickname": values.get("nickname"),
        "product": product_id,
        "recurring": _recurring(values.get("recurring")),
        "tax_behavior": values.get("tax_behavior", "unspecified"),
        "tiers_mode": values.get("tiers_mode"),
        "transform_quantity": None,
        "type": "recurring" if "recurring" in values else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": None if unit_amount is None else str(unit_amount),
        "_tiers": price_tiers.build(values["tiers"]) if "tiers" in values else [],
    }


def _recurring(values: Values | None) -> Object | None:
    if values is None:
        return None
    return {
        "interval": values["interval"],
        "interval_count": values.get("interval_count", 1),
        "meter": values.get("meter"),
        "trial_period_days": values.get("trial_period_days"),
        "usage_type": values.get("usage_type", "licensed"),
    }


def as_plan(price: Object) -> Object:
    """Return the older form of a recurring price, which subscription items still carry."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def create(call: Call, values: Values) -> Object:
    """`POST /v1/prices`."""
    if ("product" in values) == ("product_data" in values):
        raise invalid("Send either product or product_data.", "product", "parameter_missing")
    _check_meter(call, values.get("recurring", {}))
    unit_amount = _unit_amount(values)
    if "product" in values:
        product_id = fetch(call, "product", values["product"], "product")["id"]
    else:
        product_id = products.create(call, values["product_data"])["id"]
    price = build(call, values, product_id, unit_amount)
    _claim_lookup_key(call, price["lookup_key"], values)
    call.store.insert("price", price)
    events.emit(call, "price.created", price)
    return render(call, price)


def _unit_amount(values: Values) -> int | None:
    if price_tiers.are_asked_for(values):
        return None
    if ("unit_amount" in values) == ("unit_amount_decimal" in values):
        raise invalid("Send either unit_amount or unit_amount_decimal.", "unit_amount", "parameter_missing")
    return int(values["unit_amount"] if "unit_amount" in values else values["unit_amount_decimal"])


def _check_meter(call: Call, recurring: Values) -> None:
    """A price for usage names the meter that counts it, and no other price does."""
    metered = recurring.get("usage_type") == "metered"
    if metered and "meter" not in recurring:
        raise invalid("A metered price needs a meter.", "recurring[meter]", "parameter_missing")
    if not metered and "meter" in recurring:
        raise invalid("Only a metered price has a meter; send usage_type=metered.", "recurring[meter]")
    if metered and fetch(call, "billing.meter", recurring["meter"], "recurring[meter]")["status"] != "active":
        raise invalid("The meter is inactive.", "recurring[meter]")


def is_metered(price: Object) -> bool:
    """Say whether a price is for usage that a meter counts."""
    return bool((price["recurring"] or {}).get("usage_type") == "metered")


def cost(price: Object, quantity: int) -> int:
    """Return what so many of a price cost when they are ordered, in the smallest unit: nothing for what is metered."""
    return 0 if is_metered(price) else int(price["unit_amount"] * quantity)


def require_licensed(price: Object, param: str) -> None:
    """Refuse a metered price where that is not emulated."""
    if is_metered(price):
        raise invalid(f"The price {price['id']} is metered, which is not emulated here.", param)


def _claim_lookup_key(call: Call, lookup_key: str | None, values: Values, own_id: str | None = None) -> None:
    """Take a lookup key away from its holder when the request says so, and refuse it otherwise."""
    if lookup_key is None:
        return
    for holder in call.store.find("price", [equals("lookup_key", lookup_key)]):
        if holder["id"] == own_id:
            continue
        if not values.get("transfer_lookup_key"):
            raise invalid(
                f"The price {holder['id']} already has the lookup key '{lookup_key}'; "
                "send transfer_lookup_key to take it over.",
                "lookup_key",
            )
        _change(call, holder, {"lookup_key": None})


def _change(call: Call, price: Object, changes: dict[str, Any]) -> Object:
    before = render(call, deepcopy(price))
    price.update(changes)
    call.store.save(price)
    events.emit_update(call, "price.updated", before, price)
    return price


def retrieve(call: Call, _: Values, price_id: str) -> Object:
    """`GET /v1/prices/{price}`."""
    return render(call, fetch(call, "price", price_id))


def update(call: Call, values: Values, price_id: str) -> Object:
    """`POST /v1/prices/{price}`; what a price costs never changes."""
    price = fetch(call, "price", price_id)
    _claim_lookup_key(call, values.get("lookup_key"), values, price_id)
    names = ("active", "lookup_key", "nickname", "tax_behavior")
    changes: Values = {name: values[name] for name in names if name in values}
    if "metadata" in values:
        changes["metadata"] = merge_metadata(price["metadata"], values["metadata"])
    return render(call, _change(call, price, changes))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/prices`."""
    filters = member_equals(values, "active", "currency", "product", "type")
    filters += member_equals(values.get("recurring", {}), interval="recurring.interval")
    filters += member_equals(values.get("recurring", {}), meter="recurring.meter", usage_type="recurring.usage_type")
    if "lookup_keys" in values:
        filters.append(one_of("lookup_key", values["lookup_keys"]))
    return page(call, "price", values, "/v1/prices", filters)


def _tiers(call: Call, price: Object) -> list[Object] | None:
    return price_tiers.of(fetch(call, "price", price["id"]))


_SHAPE: Shape = {"product": Reference("product"), "tiers": Included(_tiers)}
register(Resource("price", "price", _SHAPE))
ENDPOINTS = (
    Endpoint("POST", "/v1/prices", CREATE, create, "price"),
    Endpoint("GET", "/v1/prices", LIST, index, "price", lists=True),
    Endpoint("GET", "/v1/prices/{price}", {}, retrieve, "price"),
    Endpoint("POST", "/v1/prices/{price}", UPDATE, update, "price"),
)
