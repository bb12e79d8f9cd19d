"""Events in the words of older API versions, as endpoints made long ago are still sent them.

Only what a reader of subscriptions, invoices, payments and discounts would trip over is put back: where a period, a
payment or a price stood before. It is what such bodies look like, not every member they had.
"""

from collections.abc import Callable
from copy import deepcopy

from portal.sandbox.call import Call
from portal.sandbox.store import Object, equals

OLDER_VERSIONS = ("2025-02-24.acacia", "2024-06-20", "2020-08-27")
# Up to this version a payment intent carried its charges.
_WITH_CHARGES = "2022-08-01"


def in_version(call: Call, event: Object, version: str) -> Object:
    """Return an event, in its present wire form, as an endpoint of an older version is sent it."""
    told = deepcopy(event)
    told["api_version"] = version
    told["data"]["object"] = _older(call, told["data"]["object"], version)
    before = told["data"].get("previous_attributes")
    if before and "items" in before:
        before |= _period(before["items"]["data"])
    return told


def _older(call: Call, value: object, version: str) -> object:
    if isinstance(value, list):
        return [_older(call, entry, version) for entry in value]
    if not isinstance(value, dict):
        return value
    told = {name: _older(call, member, version) for name, member in value.items()}
    change = _CHANGES.get(str(told.get("object")))
    return change(call, told, version) if change else told


def _subscription(_: Call, told: Object, __: str) -> Object:
    items = told["items"]["data"]
    told |= _period(items)
    for item in items:
        item.pop("current_period_start", None)
        item.pop("current_period_end", None)
    first = items[0] if items else {}
    told |= {"plan": first.get("plan"), "quantity": first.get("quantity")}
    told["discount"] = next((one for one in told.pop("discounts") if isinstance(one, dict)), None)
    told.pop("billing_mode", None)
    return told


def _period(items: list[Object]) -> Object:
    known = [item for item in items if "current_period_end" in item]
    return {name: known[0][name] for name in ("current_period_start", "current_period_end")} if known else {}


def _invoice(call: Call, told: Object, _: str) -> Object:
    parent = told.pop("parent", None) or {}
    details = parent.get("subscription_details") or {}
    payment = _payment_of(call, told["id"])
    taxes = told.pop("total_taxes", None) or []
    told |= {
        "charge": payment.get("latest_charge"),
        "paid": told["status"] == "paid",
        "payment_intent": payment.get("id"),
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details.get("metadata")},
        "tax": sum(tax["amount"] for tax in taxes) if taxes else None,
        "total_tax_amounts": [_tax(tax) for tax in taxes],
    }
    for name in ("confirmation_secret", "payments"):
        told.pop(name, None)
    return told


def _tax(tax: Object) -> Object:
    return {
        "amount": tax["amount"],
        "inclusive": tax["tax_behavior"] == "inclusive",
        "tax_rate": tax["tax_rate_details"]["tax_rate"],
        "taxability_reason": tax["taxability_reason"],
        "taxable_amount": tax["taxable_amount"],
    }


def _payment_of(call: Call, invoice_id: str) -> Object:
    found = call.store.find("invoice_payment", [equals("invoice", invoice_id)], limit=1)
    intent = call.store.get("payment_intent", found[0]["payment"]["payment_intent"] or "") if found else None
    return intent or {}


def _line(call: Call, told: Object, _: str) -> Object:
    parent = told.pop("parent", None) or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    priced = (told.pop("pricing", None) or {}).get("price_details") or {}
    told |= {
        "tax_amounts": [_tax(tax) for tax in told.pop("taxes", [])],
        "price": call.store.get("price", priced.get("price") or ""),
        "proration": bool(details.get("proration")),
        "subscription": details.get("subscription"),
        "subscription_item": details.get("subscription_item"),
        "type": "subscription" if details.get("subscription_item") else "invoiceitem",
    }
    return told


def _payment_intent(call: Call, told: Object, version: str) -> Object:
    told["invoice"] = _invoice_of(call, told["id"])
    if version < _WITH_CHARGES:
        data = call.store.find("charge", [equals("payment_intent", told["id"])])
        told["charges"] = {"object": "list", "data": data, "has_more": False, "url": "/v1/charges"}
    return told


def _charge(call: Call, told: Object, _: str) -> Object:
    return told | {"invoice": _invoice_of(call, str(told.get("payment_intent")))}


def _invoice_of(call: Call, intent_id: str) -> str | None:
    found = call.store.find("invoice_payment", [equals("payment.payment_intent", intent_id)], limit=1)
    return found[0]["invoice"] if found else None


def _discount(call: Call, told: Object, _: str) -> Object:
    source = told.pop("source", None) or {}
    return told | {"coupon": call.store.get("coupon", str(source.get("coupon")))}


_CHANGES: dict[str, Callable[[Call, Object, str], Object]] = {
    "charge": _charge,
    "discount": _discount,
    "invoice": _invoice,
    "line_item": _line,
    "payment_intent": _payment_intent,
    "subscription": _subscription,
}
