"""Coupons: how much is taken off. What a coupon takes off can never be changed."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Array,
    Choice,
    Hash,
    Integer,
    Metadata,
    Percent,
    Text,
    Timestamp,
    merge_metadata,
)
from portal.sandbox.registry import Included, Resource, deleted_form, fetch, register, render
from portal.sandbox.store import Condition, Object

CREATE = {
    "amount_off": Integer(minimum=1, maximum=AMOUNT_MAX),
    "applies_to": Hash(fields={"products": Array()}),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "duration": Choice(options=("forever", "once", "repeating")),
    "duration_in_months": Integer(minimum=1, maximum=36),
    "id": Text(max_length=500, pattern="[A-Za-z0-9_.-]+"),
    "max_redemptions": Integer(minimum=1),
    "metadata": Metadata(),
    "name": Text(max_length=40),
    "percent_off": Percent(),
    "redeem_by": Timestamp(),
}
UPDATE = {"metadata": Metadata(), "name": Text(max_length=40)}


def build(call: Call, values: Values) -> Object:
    """Return a new coupon that is not stored yet."""
    return {
        "id": values.get("id") or ids.random_text(8),
        "object": "coupon",
        "amount_off": values.get("amount_off"),
        "created": call.now(),
        "currency": values["currency"].lower() if "currency" in values else None,
        "duration": values.get("duration", "once"),
        "duration_in_months": values.get("duration_in_months"),
        "livemode": False,
        "max_redemptions": values.get("max_redemptions"),
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "name": values.get("name"),
        "percent_off": values.get("percent_off"),
        "redeem_by": values.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
        "_products": values.get("applies_to", {}).get("products"),
    }


def is_valid(call: Call, coupon: Object) -> bool:
    """Say whether a coupon can still be used: it is there, its time has not come, and its number is not used up."""
    over = coupon["redeem_by"] is not None and coupon["redeem_by"] <= call.now()
    used_up = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    return not (coupon.get("deleted") or over or used_up)


def create(call: Call, values: Values) -> Object:
    """`POST /v1/coupons`; the caller may choose the id."""
    if ("percent_off" in values) == ("amount_off" in values):
        raise invalid("Send percent_off or amount_off, one of them.", "percent_off")
    if "amount_off" in values and "currency" not in values:
        raise invalid("amount_off needs a currency.", "currency", "parameter_missing")
    if (values.get("duration") == "repeating") != ("duration_in_months" in values):
        raise invalid("duration_in_months goes with duration=repeating, and only with that.", "duration_in_months")
    if "id" in values and call.store.is_taken(values["id"]):
        raise invalid("Coupon already exists.", "id", "resource_already_exists")
    coupon = call.store.insert("coupon", build(call, values))
    events.emit(call, "coupon.created", coupon)
    return render(call, coupon)


def retrieve(call: Call, _: Values, coupon_id: str) -> Object:
    """`GET /v1/coupons/{coupon}`."""
    return render(call, fetch(call, "coupon", coupon_id))


def update(call: Call, values: Values, coupon_id: str) -> Object:
    """`POST /v1/coupons/{coupon}`: name and metadata only."""
    coupon = fetch(call, "coupon", coupon_id)
    before = render(call, deepcopy(coupon))
    if "name" in values:
        coupon["name"] = values["name"]
    if "metadata" in values:
        coupon["metadata"] = merge_metadata(coupon["metadata"], values["metadata"])
    call.store.save(coupon)
    events.emit_update(call, "coupon.updated", before, coupon)
    return render(call, coupon)


def delete(call: Call, _: Values, coupon_id: str) -> Object:
    """`DELETE /v1/coupons/{coupon}`: nobody can use it any more; who has its discount keeps that."""
    coupon = fetch(call, "coupon", coupon_id)
    call.store.save(coupon | {"deleted": True})
    events.emit(call, "coupon.deleted", coupon)
    return deleted_form(coupon)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/coupons`."""
    present = Condition("json_extract(body, '$.deleted') IS NULL")
    return page(call, "coupon", values, "/v1/coupons", [present])


def _applies_to(call: Call, coupon: Object) -> Object | None:
    products = fetch(call, "coupon", coupon["id"])["_products"]
    return None if products is None else {"products": products}


def _render(call: Call, coupon: Object) -> Object:
    shown = {key: value for key, value in coupon.items() if not key.startswith("_")}
    return shown | {"valid": is_valid(call, coupon)}


register(Resource("coupon", "coupon", {"applies_to": Included(_applies_to)}, _render))
_ONE = "/v1/coupons/{coupon}"
ENDPOINTS = (
    Endpoint("POST", "/v1/coupons", CREATE, create, "coupon"),
    Endpoint("GET", "/v1/coupons", CREATED_PAGING, index, "coupon", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "coupon"),
    Endpoint("POST", _ONE, UPDATE, update, "coupon"),
    Endpoint("DELETE", _ONE, {}, delete, "coupon"),
)
