"""Taking something off a checkout: which code may be used, how much comes off which line, and counting its use."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from portal.sandbox import checkout_taxes
from portal.sandbox.call import Call
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.parameters import Array, Hash, Text
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items, coupons, discounts, promotion_codes
from portal.sandbox.store import Object, equals

UNKNOWN = "This code is not valid."
OVER = "This code has expired or is used up."
NOT_YOURS = "This code is for somebody else."
ONLY_FIRST = "This code is only for a first order."
TOO_SMALL = "This code needs a larger order."
NOT_FOR_THIS = "This code is not for what is in this order."


def refusal_of(call: Call, session: Object, promotion: Object | None) -> str | None:
    """Return why a promotion code cannot be used in this session, in words for the customer, or None when it can."""
    if promotion is None:
        return UNKNOWN
    if not promotion_codes.is_usable(call, promotion):
        return OVER
    if promotion["customer"] not in (None, session["customer"]):
        return NOT_YOURS
    limits = promotion["restrictions"]
    if limits["first_time_transaction"] and _has_bought(call, session["customer"]):
        return ONLY_FIRST
    if limits["minimum_amount"] and session["amount_subtotal"] < limits["minimum_amount"]:
        return TOO_SMALL
    return _refusal_of_coupon(call, session, fetch(call, "coupon", promotion["promotion"]["coupon"]))


def refusal_for(call: Call, subscription: Object, promotion: Object | None) -> str | None:
    """Return why a promotion code cannot be used for a subscription that there is, or None when it can."""
    if promotion is None:
        return UNKNOWN
    if not promotion_codes.is_usable(call, promotion):
        return OVER
    if promotion["customer"] not in (None, subscription["customer"]):
        return NOT_YOURS
    if promotion["restrictions"]["first_time_transaction"] and _has_bought(call, subscription["customer"]):
        return ONLY_FIRST
    coupon = fetch(call, "coupon", promotion["promotion"]["coupon"])
    return None if coupon["currency"] in (None, subscription["currency"]) else NOT_FOR_THIS


def _refusal_of_coupon(call: Call, session: Object, coupon: Object) -> str | None:
    if coupon["currency"] not in (None, session["currency"]):
        return NOT_FOR_THIS
    return None if any(_is_for(coupon, price) for price, _ in _prices(call, session)) else NOT_FOR_THIS


def _has_bought(call: Call, customer_id: str | None) -> bool:
    if customer_id is None:
        return False
    paid = [equals("customer", customer_id), equals("status", "succeeded")]
    return bool(call.store.find("payment_intent", paid, limit=1))


def apply(call: Call, session: Object, coupon: Object, promotion_code: str | None) -> None:
    """Take the coupon off the session's lines, in place of whatever was taken off before."""
    take_off(call, session, coupon)
    session |= {"discounts": [{"coupon": None if promotion_code else coupon["id"], "promotion_code": promotion_code}]}
    session["_coupon"] = coupon["id"]
    call.store.save(session)


def remove(call: Call, session: Object) -> None:
    """Take nothing off any more."""
    take_off(call, session, None)
    session |= {"_coupon": None, "discounts": []}
    call.store.save(session)


def apply_sent(call: Call, session: Object, sent: list[dict[str, str]]) -> None:
    """Apply what was sent with the session. Raises the 400 that says what is wrong with it."""
    if len(sent) != 1 or len(sent[0]) != 1:
        raise invalid("Send one discount, as a coupon or as a promotion code.", "discounts")
    if "coupon" in sent[0]:
        coupon = fetch(call, "coupon", sent[0]["coupon"], "discounts[0][coupon]")
        refusal = _refusal_of_coupon(call, session, coupon) if coupons.is_valid(call, coupon) else OVER
        _refuse(refusal, "discounts[0][coupon]")
        apply(call, session, coupon, None)
        return
    promotion = fetch(call, "promotion_code", sent[0]["promotion_code"], "discounts[0][promotion_code]")
    _refuse(refusal_of(call, session, promotion), "discounts[0][promotion_code]")
    apply(call, session, fetch(call, "coupon", promotion["promotion"]["coupon"]), promotion["id"])


def _refuse(refusal: str | None, param: str) -> None:
    if refusal is not None:
        raise invalid(refusal, param, "coupon_expired" if refusal == OVER else None)


def _is_for(coupon: Object, price: Object | None) -> bool:
    return coupon["_products"] is None or (price is not None and price["product"] in coupon["_products"])


def _prices(call: Call, session: Object) -> list[tuple[Object, int]]:
    """Return the price of each of the session's lines, and what the line comes to."""
    items = checkout_items.of_session(call, session["id"])
    return [(fetch(call, "price", item["price"]), item["amount_subtotal"]) for item in items]


def amount_off(coupon: Object, amount: int) -> int:
    """Return what the coupon takes off a sum, in the smallest unit; half a unit is rounded up."""
    if coupon["amount_off"] is not None:
        return min(int(coupon["amount_off"]), amount)
    share = Decimal(amount) * Decimal(str(coupon["percent_off"])) / 100
    return int(share.quantize(Decimal(1), ROUND_HALF_UP))


def shares(coupon: Object, lines: Sequence[tuple[Object | None, int]]) -> list[int]:
    """Return what the coupon takes off each line, a price and an amount; the last line takes what rounding leaves."""
    base = sum(amount for price, amount in lines if _is_for(coupon, price))
    left = amount_off(coupon, base)
    parts = []
    for price, amount in lines:
        part = left * amount // base if base and _is_for(coupon, price) else 0
        if _is_for(coupon, price):
            base -= amount
            left -= part
        parts.append(part)
    return parts


DISCOUNTS = Array(
    unsettable=True,
    max_items=1,
    item=Hash(fields={"coupon": Text(), "discount": Text(), "promotion_code": Text()}),
)


def give(call: Call, subscription: Object, sent: list[dict[str, str]] | None) -> None:
    """Give a subscription another discount, or none; what it has may be sent again by its id."""
    found = [_discount_named(call, subscription, number, one) for number, one in enumerate(sent or [])]
    subscription["discounts"] = found


def _discount_named(call: Call, subscription: Object, number: int, sent: dict[str, str]) -> str:
    if len(sent) != 1:
        raise invalid("Name a coupon, a promotion code or a discount, one of them.", f"discounts[{number}]")
    name, chosen = next(iter(sent.items()))
    param = f"discounts[{number}][{name}]"
    if name == "discount":
        if chosen not in subscription["discounts"]:
            raise invalid("The subscription has no such discount.", param)
        return chosen
    coupon, promotion = usable(call, name, chosen, subscription["currency"], param)
    return str(count_use(call, coupon, promotion, discounts.For(subscription["customer"], subscription["id"]))["id"])


def usable(call: Call, name: str, chosen: str, currency: str, param: str) -> tuple[Object, Object | None]:
    """Return the coupon that was named, itself or by a promotion code, or raise the 400 when it cannot be used."""
    promotion = fetch(call, "promotion_code", chosen, param) if name == "promotion_code" else None
    coupon = fetch(call, "coupon", promotion["promotion"]["coupon"] if promotion else chosen, param)
    good = promotion_codes.is_usable(call, promotion) if promotion else coupons.is_valid(call, coupon)
    if not good or coupon["currency"] not in (None, currency):
        raise invalid(OVER, param, "coupon_expired")
    return coupon, promotion


def use_up(call: Call, subscription: Object) -> None:
    """Take a discount that is for one invoice only away from a subscription, once it has been on one."""
    kept = []
    for discount_id in subscription["discounts"]:
        discount = fetch(call, "discount", discount_id)
        coupon = fetch(call, "coupon", discount["source"]["coupon"], with_deleted=True)
        kept += [] if coupon["duration"] == "once" else [discount_id]
    subscription["discounts"] = kept


def take_off(call: Call, session: Object, coupon: Object | None) -> None:
    """Write to lines and session (or quote) what is taken off. The caller saves the session."""
    items = checkout_items.of_session(call, session["id"])
    parts = shares(coupon, _prices(call, session)) if coupon else [0] * len(items)
    for item, part in zip(items, parts, strict=True):
        call.store.save(item | {"amount_discount": part})
    session["total_details"] = session["total_details"] | {"amount_discount": sum(parts)}
    checkout_taxes.apply(call, session)


def check(call: Call, session: Object) -> ApiError | None:
    """Take off what cannot be used any more, and return the error that says so; None when all is as it was shown.

    Of two who use the last one at once, the second is told and charged nothing.
    """
    if session.get("_coupon") is None:
        return None
    coupon, promotion = _applied(call, session)
    if promotion_codes.is_usable(call, promotion) if promotion else coupons.is_valid(call, coupon):
        return None
    remove(call, session)
    return invalid(OVER, "discounts", "coupon_expired")


def redeem(call: Call, session: Object) -> Object | None:
    """Count the use of what was applied, and return its discount, stored; None when nothing was applied."""
    if session.get("_coupon") is None:
        return None
    coupon, promotion = _applied(call, session)
    return count_use(call, coupon, promotion, discounts.For(session["customer"], None, session["id"]))


def count_use(call: Call, coupon: Object, promotion: Object | None, whom: discounts.For) -> Object:
    """Count that a coupon is used, and return its discount for whoever uses it, stored."""
    for used in (coupon, promotion):
        if used is not None:
            call.store.save(used | {"times_redeemed": used["times_redeemed"] + 1})
    promotion_id = promotion["id"] if promotion else None
    return call.store.insert("discount", discounts.build(call, coupon, promotion_id, whom))


def _applied(call: Call, session: Object) -> tuple[Object, Object | None]:
    promotion_id = session["discounts"][0]["promotion_code"]
    coupon = call.store.get("coupon", session["_coupon"])
    assert coupon is not None
    return coupon, fetch(call, "promotion_code", promotion_id) if promotion_id else None
