"""Promotion codes: the words that customers enter to have a coupon."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Boolean,
    Choice,
    Hash,
    Integer,
    Metadata,
    Text,
    Timestamp,
    merge_metadata,
)
from portal.sandbox.registry import Nested, Reference, Resource, fetch, public, register, render
from portal.sandbox.resources import coupons
from portal.sandbox.store import Condition, Object, equals

CREATE = {
    "active": Boolean(),
    "code": Text(max_length=500, pattern="[A-Za-z0-9_-]+"),
    "customer": Text(),
    "expires_at": Timestamp(),
    "max_redemptions": Integer(minimum=1),
    "metadata": Metadata(),
    "promotion": Hash(required=True, fields={"coupon": Text(), "type": Choice(options=("coupon",), required=True)}),
    "restrictions": Hash(
        fields={
            "first_time_transaction": Boolean(),
            "minimum_amount": Integer(minimum=1, maximum=AMOUNT_MAX),
            "minimum_amount_currency": Text(pattern="[A-Za-z]{3}"),
        }
    ),
}
UPDATE = {"active": Boolean(), "metadata": Metadata()}
LIST = CREATED_PAGING | {"active": Boolean(), "code": Text(), "coupon": Text(), "customer": Text()}
CODE_LETTERS = 8
_STANDS = """
json_extract(body, '$.active') AND coalesce(json_extract(body, '$.expires_at') > ?, 1)
    AND coalesce(json_extract(body, '$.times_redeemed') < json_extract(body, '$.max_redemptions'), 1)
"""
_STANDS_FOR = """
SELECT 1 FROM objects AS coupons
WHERE coupons.type = 'coupon' AND coupons.id = json_extract(objects.body, '$.promotion.coupon')
    AND json_extract(coupons.body, '$.deleted') IS NULL
    AND coalesce(json_extract(coupons.body, '$.redeem_by') > ?, 1)
    AND coalesce(json_extract(coupons.body, '$.times_redeemed') < json_extract(coupons.body, '$.max_redemptions'), 1)
"""


def build(call: Call, values: Values) -> Object:
    """Return a new promotion code that is not stored yet."""
    limits = values.get("restrictions", {})
    currency = limits.get("minimum_amount_currency")
    return {
        "id": ids.new_id("promo"),
        "object": "promotion_code",
        "active": values.get("active", True),
        "code": values.get("code") or ids.random_text(CODE_LETTERS).upper(),
        "created": call.now(),
        "customer": values.get("customer"),
        "customer_account": None,
        "expires_at": values.get("expires_at"),
        "livemode": False,
        "max_redemptions": values.get("max_redemptions"),
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "promotion": {"coupon": values["promotion"]["coupon"], "type": "coupon"},
        "restrictions": {
            "first_time_transaction": limits.get("first_time_transaction", False),
            "minimum_amount": limits.get("minimum_amount"),
            "minimum_amount_currency": currency.lower() if currency else None,
        },
        "times_redeemed": 0,
    }


def is_usable(call: Call, promotion: Object) -> bool:
    """Say whether the code still stands for something; the stored `active` alone is what its owner wants."""
    over = promotion["expires_at"] is not None and promotion["expires_at"] <= call.now()
    used_up = promotion["max_redemptions"] is not None and promotion["times_redeemed"] >= promotion["max_redemptions"]
    coupon = call.store.get("coupon", promotion["promotion"]["coupon"])
    return promotion["active"] and not over and not used_up and coupon is not None and coupons.is_valid(call, coupon)


def find(call: Call, code: str) -> Object | None:
    """Return the active promotion code that is spelled so, whatever the case of its letters.

    Without one it is the newest that nobody has switched off, so that a page can say that it is over.
    """
    found = call.store.find("promotion_code", [_spelled(code), equals("active", True)])
    return next((one for one in found if is_usable(call, one)), found[0] if found else None)


def _spelled(code: str) -> Condition:
    return Condition("upper(json_extract(body, '$.code')) = ?", (code.upper(),))


def _usable(call: Call, usable: bool) -> Condition:
    """Return what `is_usable` says, for lists: they are cut into pages where they are read."""
    return Condition(f"({_STANDS} AND EXISTS ({_STANDS_FOR})) IS ?", (call.now(), call.now(), int(usable)))


def create(call: Call, values: Values) -> Object:
    """`POST /v1/promotion_codes`; two active codes cannot be spelled alike."""
    if "coupon" not in values["promotion"]:
        raise missing_parameter("promotion[coupon]")
    fetch(call, "coupon", values["promotion"]["coupon"], "promotion[coupon]")
    if "customer" in values:
        fetch(call, "customer", values["customer"], "customer")
    limits = values.get("restrictions", {})
    if ("minimum_amount" in limits) != ("minimum_amount_currency" in limits):
        raise invalid("minimum_amount goes with minimum_amount_currency.", "restrictions[minimum_amount_currency]")
    if values.get("expires_at", call.now() + 1) <= call.now():
        raise invalid("expires_at must be in the future.", "expires_at")
    _check_free(call, values.get("code"), values.get("active", True))
    promotion = call.store.insert("promotion_code", build(call, values))
    events.emit(call, "promotion_code.created", promotion)
    return render(call, promotion)


def _check_free(call: Call, code: str | None, active: bool) -> None:
    holder = find(call, code) if code is not None and active else None
    if holder is not None and is_usable(call, holder):
        raise invalid("An active promotion code with this code exists already.", "code", "resource_already_exists")


def retrieve(call: Call, _: Values, promotion_id: str) -> Object:
    """`GET /v1/promotion_codes/{promotion_code}`."""
    return render(call, fetch(call, "promotion_code", promotion_id))


def update(call: Call, values: Values, promotion_id: str) -> Object:
    """`POST /v1/promotion_codes/{promotion_code}`: switched on, as long as it stands for something, or off; metadata."""
    promotion = fetch(call, "promotion_code", promotion_id)
    before = render(call, deepcopy(promotion))
    if "active" in values:
        if values["active"] and not promotion["active"]:
            _check_free(call, promotion["code"], active=True)
        promotion["active"] = values["active"]
        if values["active"] and not is_usable(call, promotion):
            raise invalid("The promotion code or its coupon has expired or is used up.", "active")
    if "metadata" in values:
        promotion["metadata"] = merge_metadata(promotion["metadata"], values["metadata"])
    call.store.save(promotion)
    events.emit_update(call, "promotion_code.updated", before, promotion)
    return render(call, promotion)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/promotion_codes`; `code` is compared without regard to the case of its letters."""
    filters = member_equals(values, "customer")
    if "active" in values:
        filters.append(_usable(call, values["active"]))
    if "code" in values:
        filters.append(_spelled(values["code"]))
    if "coupon" in values:
        filters.append(equals("promotion.coupon", values["coupon"]))
    return page(call, "promotion_code", values, "/v1/promotion_codes", filters)


def _render(call: Call, promotion: Object) -> Object:
    return public(call, promotion) | {"active": is_usable(call, promotion)}


register(
    Resource(
        "promotion_code",
        "promotion code",
        {"customer": Reference("customer"), "promotion": Nested({"coupon": Reference("coupon")})},
        _render,
    )
)
_ONE = "/v1/promotion_codes/{promotion_code}"
ENDPOINTS = (
    Endpoint("POST", "/v1/promotion_codes", CREATE, create, "promotion_code"),
    Endpoint("GET", "/v1/promotion_codes", LIST, index, "promotion_code", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "promotion_code"),
    Endpoint("POST", _ONE, UPDATE, update, "promotion_code"),
)
