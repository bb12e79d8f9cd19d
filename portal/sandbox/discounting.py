"""Taking something off a checkout: which code may be used, how much comes off which line, and counting its use."""

from decimal import ROUND_HALF_UP, Decimal

from portal.sandbox.call import Call
from portal.sandbox.errors import ApiError, invalid
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


def _refusal_of_coupon(call: Call, session: Object, coupon: Object) -> str | None:
    if coupon["currency"] not in (None, session["currency"]):
        return NOT_FOR_THIS
    return None if _eligible(call, session, coupon) else NOT_FOR_THIS


def _has_bought(call: Call, customer_id: str | None) -> bool:
    if customer_id is None:
        return False
    paid = [equals("customer", customer_id), equals("status", "succeeded")]
    return bool(call.store.find("payment_intent", paid, limit=1))


def apply(call: Call, session: Object, coupon: Object, promotion_code: str | None) -> None:
    """Take the coupon off the session's lines, in place of whatever was taken off before."""
    _set(call, session, coupon)
    session |= {"discounts": [{"coupon": None if promotion_code else coupon["id"], "promotion_code": promotion_code}]}
    session["_coupon"] = coupon["id"]
    call.store.save(session)


def remove(call: Call, session: Object) -> None:
    """Take nothing off any more."""
    _set(call, session, None)
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


def _eligible(call: Call, session: Object, coupon: Object) -> list[Object]:
    """Return the lines that the coupon is for."""
    products = coupon["_products"]
    return [
        item
        for item in checkout_items.of_session(call, session["id"])
        if products is None or fetch(call, "price", item["price"])["product"] in products
    ]


def amount_off(coupon: Object, amount: int) -> int:
    """Return what the coupon takes off a sum, in the smallest unit; half a unit is rounded up."""
    if coupon["amount_off"] is not None:
        return min(int(coupon["amount_off"]), amount)
    share = Decimal(amount) * Decimal(str(coupon["percent_off"])) / 100
    return int(share.quantize(Decimal(1), ROUND_HALF_UP))


def _set(call: Call, session: Object, coupon: Object | None) -> None:
    """Write to lines and session what is taken off; the last line takes what rounding leaves."""
    items = checkout_items.of_session(call, session["id"])
    eligible = {item["id"] for item in _eligible(call, session, coupon)} if coupon else set()
    base = sum(item["amount_subtotal"] for item in items if item["id"] in eligible)
    left = amount_off(coupon, base) if coupon else 0
    total_off = left
    for item in items:
        part = 0
        if item["id"] in eligible:
            part = left * item["amount_subtotal"] // base if base else 0
            base -= item["amount_subtotal"]
            left -= part
        item |= {"amount_discount": part, "amount_total": item["amount_subtotal"] - part}
        call.store.save(item)
    session["amount_total"] = session["amount_subtotal"] - total_off
    session["total_details"] = session["total_details"] | {"amount_discount": total_off}


def check(call: Call, session: Object) -> ApiError | None:
    """Take off what cannot be used any more, and return the error that says so; None when all is as it was shown.

    Of two who use the last one at once, the second is told and charged nothing.
    """
    if session.get("_coupon") is None:
        return None
    coupon, promotion = _applied(call, session)
    usable = promotion_codes.is_usable(call, promotion) if promotion else coupons.is_valid(call, coupon)
    if usable:
        return None
    remove(call, session)
    return invalid(OVER, "discounts", "coupon_expired")


def redeem(call: Call, session: Object) -> Object | None:
    """Count the use of what was applied, and return its discount, stored; None when nothing was applied."""
    if session.get("_coupon") is None:
        return None
    coupon, promotion = _applied(call, session)
    for used in (coupon, promotion):
        if used is not None:
            call.store.save(used | {"times_redeemed": used["times_redeemed"] + 1})
    promotion_id = promotion["id"] if promotion else None
    return call.store.insert("discount", discounts.build(call, coupon, promotion_id, session))


def _applied(call: Call, session: Object) -> tuple[Object, Object | None]:
    promotion_id = session["discounts"][0]["promotion_code"]
    coupon = call.store.get("coupon", session["_coupon"])
    assert coupon is not None
    return coupon, fetch(call, "promotion_code", promotion_id) if promotion_id else None
