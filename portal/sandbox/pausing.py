"""What a pause gives back, and what going on after it asks for."""

from portal.sandbox import changing, proration, renewing
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object


def credit(call: Call, subscription: Object, *, whole: bool) -> None:
    """Credit the time of the current period that is not used, or the `whole` of it."""
    customer = fetch(call, "customer", subscription["customer"])
    for item in subscription_items.of_subscription(call, subscription["id"]):
        proration.give_back(call, customer, item, item["current_period_start"] if whole else call.now())
        call.store.save(item | {"_billed": None})


def prepare_resume(call: Call, subscription: Object, values: Values) -> Object | None:
    """Let a paused subscription go on; returns the draft of what is due at once, or None. The caller saves it."""
    if subscription["status"] != "paused":
        raise invalid(f"Only a paused subscription can be resumed; the status of this one is {subscription['status']}.")
    items = subscription_items.of_subscription(call, subscription["id"])
    subscription.pop("status_details", None)
    subscription.pop("_resumes_at", None)
    subscription["status"] = "active"
    if values.get("billing_cycle_anchor", {"type": "now"})["type"] == "now":
        subscription["billing_cycle_anchor"] = call.now()
        return renewing.draft_period(call, subscription, items, "subscription_cycle", resets=True)
    behavior = values.get("proration_behavior", "create_prorations")
    renewing.move_on(call, subscription, [item for item in items if item["current_period_end"] <= call.now()])
    if behavior != "none":
        _ask_for_the_rest(call, subscription, values.get("proration_date", call.now()))
    return changing.draft_of_prorations(call, subscription) if behavior == "always_invoice" else None


def _ask_for_the_rest(call: Call, subscription: Object, at: int) -> None:
    """Bill the rest of the current period, as far as it was not billed before the pause and never given back."""
    customer = fetch(call, "customer", subscription["customer"])
    items = subscription_items.of_subscription(call, subscription["id"])
    costs = proration.nets(call, subscription, items)
    for item in items:
        billed = item.get("_billed")
        if billed is not None and billed["start"] <= at < billed["end"]:
            continue
        if not item["current_period_start"] <= at < item["current_period_end"]:
            raise invalid("proration_date must lie within the current period.", "proration_date")
        proration.ask_for(call, customer, item, costs[item["id"]], at, subscription["cancel_at"])
