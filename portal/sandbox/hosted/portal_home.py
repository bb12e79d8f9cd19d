"""The home page of the customer portal: the plan, the cards, the billing details and the invoices."""

from flask import Response

from portal.sandbox.hosted.portal_visit import NOTES, Visit
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object, equals
from portal.sandbox.wording import date, every, money

INVOICES_SHOWN = 24
_STATUS = {
    "active": ("Active", "ok"),
    "incomplete": ("Payment missing", "bad"),
    "past_due": ("Payment failed", "bad"),
    "paused": ("Paused", "warn"),
    "trialing": ("Trial", "ok"),
    "unpaid": ("Not paid", "bad"),
}


def home(visit: Visit) -> Response:
    """Show everything, or the one step that the session was made for."""
    if visit.flow_step is not None:
        return visit.to(visit.link(visit.flow_step))
    return visit.show(
        "portal.html",
        note=NOTES.get(visit.note or ""),
        plans=[plan_of(visit, subscription) for subscription in visit.living],
        cards=_cards(visit) if visit.allows("payment_method_update") else [],
        details=visit.customer if visit.allows("customer_update") else None,
        invoices=_invoices(visit) if visit.allows("invoice_history") else None,
    )


def confirmation(visit: Visit) -> Response:
    """Say that a flow is done, in the words it was made with."""
    flow = visit.session["flow"]
    if flow is None or not visit.session["_flow_done"]:
        return visit.to(visit.link())
    confirmed = flow["after_completion"]["hosted_confirmation"] or {}
    text = confirmed.get("custom_message") or NOTES.get(visit.note or "", "Your change is saved.")
    return visit.show("portal_done.html", text=text)


def plan_of(visit: Visit, subscription: Object) -> Object:
    """Return what a page says of a subscription."""
    items = subscription_items.of_subscription(visit.call, subscription["id"])
    prices = [fetch(visit.call, "price", item["price"]) for item in items]
    names = [_name(visit, item, price) for item, price in zip(items, prices, strict=True)]
    total = sum(price["unit_amount"] * item["quantity"] for item, price in zip(items, prices, strict=True))
    cost = money(total, subscription["currency"])
    word, tone = _STATUS[subscription["status"]]
    if subscription["cancel_at"] is not None:
        word, tone = "Ending", "warn"
    return {
        "id": subscription["id"],
        "name": ", ".join(names),
        "cost": f"{cost} / {every(prices[0]['recurring'])}",
        "status": word,
        "tone": tone,
        "next": _next(subscription, max(item["current_period_end"] for item in items), cost),
        "ending": subscription["cancel_at"] is not None,
        "until": date(subscription["cancel_at"] or max(item["current_period_end"] for item in items)),
    }


def _name(visit: Visit, item: Object, price: Object) -> str:
    name = str(fetch(visit.call, "product", price["product"], with_deleted=True)["name"])
    return name if item["quantity"] == 1 else f"{item['quantity']} \u00d7 {name}"


def _next(subscription: Object, period_end: int, cost: str) -> str:
    if subscription["cancel_at"] is not None:
        return f"You keep your plan until {date(subscription['cancel_at'])}. It does not renew."
    if subscription["status"] == "paused":
        return "Your plan is paused. Nothing is charged until it goes on."
    if subscription["pause_collection"] is not None:
        return "Payments are paused. Nothing is charged for now."
    if subscription["status"] == "trialing":
        return f"The trial ends on {date(period_end)}. Your first payment is then {cost}."
    if subscription["status"] in ("incomplete", "past_due", "unpaid"):
        return "The last payment did not go through. Check your card below."
    return f"Renews on {date(period_end)} for {cost}."


def _cards(visit: Visit) -> list[Object]:
    default = visit.customer["invoice_settings"]["default_payment_method"]
    used = {subscription["default_payment_method"] for subscription in visit.living} | {default}
    found = visit.call.store.find("payment_method", [equals("customer", visit.customer["id"])])
    cards = [
        {
            "id": payment_method["id"],
            "brand": card_brand(payment_method),
            "last4": payment_method["card"]["last4"],
            "expires": f"{payment_method['card']['exp_month']:02d}/{payment_method['card']['exp_year']}",
            "in_use": payment_method["id"] in used,
        }
        for payment_method in found
    ]
    return sorted(cards, key=lambda card: not card["in_use"])


def card_brand(payment_method: Object) -> str:
    """Return the name of a card's brand as people know it."""
    names = {"amex": "American Express", "mastercard": "Mastercard", "visa": "Visa", "discover": "Discover"}
    return names.get(payment_method["card"]["brand"], "Card")


def _invoices(visit: Visit) -> list[Object]:
    found = visit.call.store.find("invoice", [equals("customer", visit.customer["id"])], limit=INVOICES_SHOWN)
    return [invoice for invoice in found if invoice["status"] != "draft"]
