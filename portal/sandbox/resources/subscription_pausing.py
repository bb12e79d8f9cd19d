"""Pausing a subscription and resuming it, which only flexible billing knows: nothing renews in between."""

from copy import deepcopy

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Choice, Hash
from portal.sandbox.registry import fetch, render
from portal.sandbox.renewing import begin_period, move_on
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object

PAUSE = {
    "bill_for": Hash(fields={"unused_time_from": Hash(fields={"type": Choice(options=("none",), required=True)})}),
    "invoicing_behavior": Choice(options=("invoice", "pending_invoice_item")),
    "type": Choice(options=("subscription",)),
}
RESUME = {
    "billing_cycle_anchor": Hash(fields={"type": Choice(options=("now", "unchanged"), required=True)}),
    "payment_behavior": Choice(options=("resume_on_payment_attempt",)),
    "proration_behavior": Choice(options=("none",)),
}
_PAUSABLE = ("active", "past_due", "trialing")


@by_clock_of("subscription")
def pause(call: Call, _: Values, subscription_id: str) -> Object:
    """`POST /v1/subscriptions/{subscription}/pause`; unused time is not credited."""
    subscription = fetch(call, "subscription", subscription_id)
    if subscription["status"] not in _PAUSABLE:
        raise invalid(f"The subscription cannot be paused, because its status is {subscription['status']}.")
    pause_now(call, subscription, "pause_requested")
    return render(call, subscription)


def pause_now(call: Call, subscription: Object, why: str) -> None:
    """Pause a subscription for a reason that Stripe knows, and tell of it."""
    before = render(call, deepcopy(subscription))
    subscription["status"] = "paused"
    subscription["status_details"] = {
        "paused": {"subscription": {"type": why}, "transitioned_at": call.now(), "type": "subscription"}
    }
    call.store.save(subscription)
    events.emit(call, "customer.subscription.paused", subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


@by_clock_of("subscription")
def resume(call: Call, values: Values, subscription_id: str) -> Object:
    """`POST /v1/subscriptions/{subscription}/resume`: a new period begins now and is billed, or the old one goes on."""
    subscription = fetch(call, "subscription", subscription_id)
    if subscription["status"] != "paused":
        raise invalid(f"Only a paused subscription can be resumed; the status of this one is {subscription['status']}.")
    anew = values.get("billing_cycle_anchor", {"type": "now"})["type"] == "now"
    items = subscription_items.of_subscription(call, subscription_id)
    before = render(call, deepcopy(subscription))
    subscription.pop("status_details", None)
    subscription["status"] = "active"
    if anew:
        subscription["billing_cycle_anchor"] = call.now()
    else:
        # What went by while it was paused is not billed.
        move_on(call, subscription, [item for item in items if item["current_period_end"] <= call.now()])
    call.store.save(subscription)
    events.emit(call, "customer.subscription.resumed", subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    if anew:
        begin_period(call, subscription, items)
    return render(call, subscription)


_ONE = "/v1/subscriptions/{subscription}"
ENDPOINTS = (
    Endpoint("POST", _ONE + "/pause", PAUSE, pause, "subscription"),
    Endpoint("POST", _ONE + "/resume", RESUME, resume, "subscription"),
)
