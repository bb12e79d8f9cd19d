"""Taking something off: which code may be used by whom, how much comes off which line, and counting its use."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from portal.sandbox import checkout_taxes, events
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
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


@dataclass(frozen=True)
class Purchase:
    """What something is to be taken off: whose order it is, and what that comes to before, in its smallest unit."""

    customer: str | None
    currency: str
    amount: int


def refusal_of(call: Call, session: Object, promotion: Object | None) -> str | None:
    """Return why a promotion code cannot be used in this session, in words for the customer, or None when it can."""
    purchase = Purchase(session["customer"], session["currency"], session["amount_subtotal"])
    refusal = refusal_for(call, purchase, promotion)
    if refusal is not None or promotion is None:
        return refusal
    return _refusal_of_coupon(call, session, fetch(call, "coupon", promotion["promotion"]["coupon"]))


def refusal_for(call: Call, purchase: Purchase, promotion: Object | None) -> str | None:
    """Return why a promotion code cannot be used for a purchase, in words for the customer, or None when it can."""
    if promotion is None:
        return UNKNOWN
    if not promotion_codes.is_usable(call, promotion):
        return OVER
    if promotion["customer"] not in (None, purchase.customer):
        return NOT_YOURS
    limits = promotion["restrictions"]
    if limits["first_time_transaction"] and _has_bought(call, purchase.customer):
        return ONLY_FIRST
    coupon = fetch(call, "coupon", promotion["promotion"]["coupon"])
    if {coupon["currency"], limits["minimum_amount_currency"]} - {None, purchase.currency}:
        return NOT_FOR_THIS
    return TOO_SMALL if purchase.amount < (limits["minimum_amount"] or 0) else None


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


def give(call: Call, subscription: Object, sent: list[Values] | None, amount: int) -> None:
    """Give a subscription another discount, or none; what it has may be sent again by its id.

    `amount` is what a period of it costs before. What is `_scheduled` was checked when its schedule was asked for, by
    whom it can be used and for what; if it is over by now, it is left away.
    """
    purchase = Purchase(subscription["customer"], subscription["currency"], amount)
    wanted = [one for one in sent or [] if not (one.get("_scheduled") and _is_over(call, one))]
    found = [_discount_named(call, subscription, purchase, number, one) for number, one in enumerate(wanted)]
    for gone in subscription["discounts"]:
        if gone not in found:
            events.emit(call, "customer.discount.deleted", fetch(call, "discount", gone))
    subscription["discounts"] = found


def _is_over(call: Call, sent: Values) -> bool:
    """Say whether nobody can use any more what was named; a discount that somebody has is never over so."""
    if "promotion_code" in sent:
        return not promotion_codes.is_usable(call, fetch(call, "promotion_code", sent["promotion_code"]))
    return "coupon" in sent and not coupons.is_valid(call, fetch(call, "coupon", sent["coupon"], with_deleted=True))


def _discount_named(call: Call, subscription: Object, purchase: Purchase, number: int, sent: Values) -> str:
    name, chosen = named_in(sent, f"discounts[{number}]")
    param = f"discounts[{number}][{name}]"
    if name == "discount":
        if chosen not in subscription["discounts"]:
            raise invalid("The subscription has no such discount.", param)
        return chosen
    coupon, promotion = usable(call, name, chosen, purchase, param, scheduled=sent.get("_scheduled", False))
    discount = count_use(call, coupon, promotion, discounts.For(subscription["customer"], subscription["id"]))
    events.emit(call, "customer.discount.created", discount)
    return str(discount["id"])


def named_in(sent: Values, param: str) -> tuple[str, str]:
    """Return what a discount is named by, and its id; raises the 400 unless it is one of the three."""
    named = [(name, str(value)) for name, value in sent.items() if name != "_scheduled"]
    if len(named) != 1:
        raise invalid("Name a coupon, a promotion code or a discount, one of them.", param)
    return named[0]


def usable(
    call: Call, name: str, chosen: str, purchase: Purchase, param: str, *, scheduled: bool = False
) -> tuple[Object, Object | None]:
    """Return the coupon that was named, itself or by a promotion code, or raise the 400 when it cannot be used.

    Of a code that was `scheduled` it is not asked again whose it is, and whether the order is large or the first.
    """
    promotion = fetch(call, "promotion_code", chosen, param) if name == "promotion_code" else None
    if promotion is not None and not scheduled:
        _refuse(refusal_for(call, purchase, promotion), param)
    coupon = fetch(call, "coupon", promotion["promotion"]["coupon"] if promotion else chosen, param)
    still = promotion_codes.is_usable(call, promotion) if promotion else coupons.is_valid(call, coupon)
    _refuse(None if still else OVER, param)
    _refuse(None if coupon["currency"] in (None, purchase.currency) else NOT_FOR_THIS, param)
    return coupon, promotion


def use_up(call: Call, subscription: Object, *, billed: bool) -> None:
    """Take what is over away from a subscription, and tell of it: what was for one invoice only, when one was `billed`
    with it, and what has had its time. The caller saves the subscription.
    """
    kept = []
    for discount_id in subscription["discounts"]:
        discount = fetch(call, "discount", discount_id)
        coupon = fetch(call, "coupon", discount["source"]["coupon"], with_deleted=True)
        if not discounts.lasts(call, discount):
            events.emit(call.dated(discount["end"]), "customer.discount.deleted", discount)
        elif billed and coupon["duration"] == "once":
            events.emit(call, "customer.discount.deleted", discount)
        else:
            kept.append(discount_id)
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
