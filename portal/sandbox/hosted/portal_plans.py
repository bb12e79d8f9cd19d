"""What the customer portal says of a customer's plans, and what can be done with each."""

from portal.sandbox import plan_offers, portal_changes
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscription_items
from portal.sandbox.resources.prices import cost as cost_of_order
from portal.sandbox.resources.prices import is_metered
from portal.sandbox.resources.subscription_pausing import refusal_of_pause
from portal.sandbox.store import Object
from portal.sandbox.wording import date, every, money

_STATUS = {
    "active": ("Active", "ok"),
    "incomplete": ("Payment missing", "bad"),
    "past_due": ("Payment failed", "bad"),
    "paused": ("Paused", "warn"),
    "trialing": ("Trial", "ok"),
    "unpaid": ("Not paid", "bad"),
}


def plan_of(visit: Visit, subscription: Object) -> Object:
    """Return what a page says of a subscription."""
    items = subscription_items.of_subscription(visit.call, subscription["id"])
    parts = [(item, fetch(visit.call, "price", item["price"])) for item in items]
    # What is counted by a meter is on the invoice once it was used.
    parts = [(item, price) for item, price in parts if not is_metered(price)] or parts
    total = sum(cost_of_order(price, item["quantity"]) for item, price in parts)
    cost = money(total, subscription["currency"])
    rate = f"{cost} / {every(parts[0][1]['recurring'])}"
    period_end = max(item["current_period_end"] for item, _ in parts)
    word, tone = _STATUS[subscription["status"]]
    if subscription["cancel_at"] is not None:
        word, tone = "Ending", "warn"
    return {
        "id": subscription["id"],
        "name": ", ".join(name_of(visit, price, item["quantity"]) for item, price in parts),
        "cost": rate,
        "status": word,
        "tone": tone,
        "next": _next(subscription, period_end, cost, rate),
        "planned": planned_of(visit, subscription),
        "ending": subscription["cancel_at"] is not None,
        "until": date(subscription["cancel_at"] or period_end),
        "can_change": plan_offers.is_changeable(visit.call, visit.configuration, subscription),
        "can_pause": visit.allows("subscription_pause") and may_pause(subscription),
        "can_resume": visit.allows("subscription_pause") and subscription["status"] == "paused",
    }


def name_of(visit: Visit, price: Object, quantity: int) -> str:
    """Return what people call so many of a price."""
    name = str(fetch(visit.call, "product", price["product"], with_deleted=True)["name"])
    return name if quantity == 1 else f"{quantity} \u00d7 {name}"


def cost_of(price: Object, quantity: int) -> str:
    """Return what so many of a price cost, such as `$58.00 / month`."""
    return f"{money(price['unit_amount'] * quantity, price['currency'])} / {every(price['recurring'])}"


def planned_of(visit: Visit, subscription: Object) -> str | None:
    """Return in words what a subscription changes to by itself, and when; None when nothing is planned."""
    phase = portal_changes.planned(visit.call, subscription)
    if phase is None:
        return None
    parts = [(fetch(visit.call, "price", item["price"]), item["quantity"]) for item in phase["items"]]
    named = ", ".join(f"{name_of(visit, *part)} at {cost_of(*part)}" for part in parts)
    return f"Changes to {named} on {date(phase['start_date'])}."


def may_pause(subscription: Object) -> bool:
    """Say whether a subscription runs as it is and can be paused."""
    runs_on = subscription["cancel_at"] is None and subscription["pause_collection"] is None
    return runs_on and refusal_of_pause(subscription) is None


def _next(subscription: Object, period_end: int, cost: str, rate: str) -> str:
    if subscription["cancel_at"] is not None:
        return f"You keep your plan until {date(subscription['cancel_at'])}. It does not renew."
    if subscription["status"] == "paused" or subscription["pause_collection"] is not None:
        return _paused(subscription, rate)
    if subscription["status"] == "trialing":
        return f"The trial ends on {date(period_end)}. Your first payment is then {cost}."
    if subscription["status"] in ("incomplete", "past_due", "unpaid"):
        return "The last payment did not go through. Check your card below."
    if subscription["schedule"] is not None:
        return f"Paid until {date(period_end)}."
    return f"Renews on {date(period_end)} for {cost}."


def _paused(subscription: Object, rate: str) -> str:
    until = subscription.get("_resumes_at")
    if subscription["status"] != "paused":
        return "Payments are paused. Nothing is charged for now."
    if until is None:
        return "Your plan is paused. Nothing is charged until it goes on."
    return f"Your plan is paused. It goes on by itself on {date(until)}, at {rate}."
