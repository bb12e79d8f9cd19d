"""Pausing a subscription and resuming it, which only flexible billing knows: nothing renews in between."""

from copy import deepcopy

from portal.sandbox import agenda, changing, collecting, events, pausing, standing
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Choice, Hash, Timestamp
from portal.sandbox.registry import fetch, render
from portal.sandbox.store import Object

PAUSE = {
    "bill_for": Hash(
        fields={
            "unused_time_from": Hash(
                fields={"type": Choice(options=("item_current_period_start", "none", "now"), required=True)}
            )
        }
    ),
    "invoicing_behavior": Choice(options=("invoice", "pending_invoice_item")),
    "type": Choice(options=("subscription",)),
}
RESUME = {
    "billing_cycle_anchor": Hash(fields={"type": Choice(options=("now", "unchanged"), required=True)}),
    "payment_behavior": Choice(options=("resume_on_payment_attempt",)),
    "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
    "proration_date": Timestamp(),
}
_PAUSABLE = ("active", "past_due", "trialing")


@by_clock_of("subscription")
def pause(call: Call, values: Values, subscription_id: str) -> Object:
    """`POST /v1/subscriptions/{subscription}/pause`; unused time is credited from now on, unless asked otherwise."""
    subscription = fetch(call, "subscription", subscription_id)
    refusal = refusal_of_pause(subscription)
    if refusal is not None:
        raise invalid(refusal)
    before = render(call, deepcopy(subscription))
    since = values.get("bill_for", {}).get("unused_time_from", {"type": "now"})["type"]
    if since != "none" and subscription["status"] != "trialing":
        pausing.credit(call, subscription, whole=since == "item_current_period_start")
    invoice = None
    if values.get("invoicing_behavior") == "invoice":
        invoice = changing.draft_of_prorations(call, subscription)
    pause_now(call, subscription, "pause_requested", before)
    if invoice is not None:
        _collect(call, subscription, invoice)
    return render(call, fetch(call, "subscription", subscription_id))


def refusal_of_pause(subscription: Object) -> str | None:
    """Return why a subscription cannot be paused, or None when it can."""
    if subscription["status"] not in _PAUSABLE:
        return f"The subscription cannot be paused, because its status is {subscription['status']}."
    if subscription["schedule"] is not None:
        return "The subscription cannot be paused, because it follows a schedule; release that first."
    return None


def _collect(call: Call, subscription: Object, invoice: Object) -> None:
    collecting.finalize(call, invoice, description="Subscription update")
    if standing.collect(call, invoice, standing.card_of(call, subscription)) is None:
        standing.after_payment(call, invoice)
    else:
        standing.after_refusal(call, invoice)


def pause_now(call: Call, subscription: Object, why: str, before: Object) -> None:
    """Pause a subscription for a reason that Stripe knows, and tell of it; `before` is its wire form until then."""
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
    before = render(call, deepcopy(subscription))
    invoice = pausing.prepare_resume(call, subscription, values)
    call.store.save(subscription)
    agenda.lift(call, subscription["id"])
    events.emit(call, "customer.subscription.resumed", subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    if invoice is not None:
        _collect(call, subscription, invoice)
    return render(call, fetch(call, "subscription", subscription_id))


_ONE = "/v1/subscriptions/{subscription}"
ENDPOINTS = (
    Endpoint("POST", _ONE + "/pause", PAUSE, pause, "subscription"),
    Endpoint("POST", _ONE + "/resume", RESUME, resume, "subscription"),
)
