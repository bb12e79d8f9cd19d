"""Changes that wait for their payment (`payment_behavior=pending_if_incomplete`): made when it comes, forgotten else.

What the subscription is to become stands beside it, whole; the subscription itself stays as it was meanwhile.
"""

from copy import deepcopy
from dataclasses import dataclass

from portal.sandbox import collecting, events
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object

KEPT_SECONDS = 23 * 3600


@dataclass(frozen=True)
class Snapshot:
    """A subscription and its items at one moment."""

    subscription: Object
    items: list[Object]


def snapshot(call: Call, subscription: Object) -> Snapshot:
    """Return a subscription as it stands, to go back to."""
    return Snapshot(deepcopy(subscription), subscription_items.of_subscription(call, subscription["id"]))


def restore(call: Call, kept: Snapshot) -> Object:
    """Write a subscription and its items as they were kept; returns the subscription."""
    kept_ids = {item["id"] for item in kept.items}
    for item in subscription_items.of_subscription(call, kept.subscription["id"]):
        if item["id"] not in kept_ids:
            call.store.delete(item["id"])
    for item in kept.items:
        if call.store.get("subscription_item", item["id"]) is None:
            call.store.insert("subscription_item", item)
        else:
            call.store.save(item)
    return call.store.save(kept.subscription)


def let_wait(call: Call, before: Snapshot, after: Snapshot, invoice: Object) -> Object:
    """Go back to how it was before a change, which waits for the payment of `invoice`; returns the subscription."""
    changed = {name: value for name, value in after.subscription.items() if before.subscription.get(name) != value}
    changed.pop("latest_invoice", None)
    subscription = restore(call, before)
    subscription |= {
        "latest_invoice": invoice["id"],
        "pending_update": {
            "billing_cycle_anchor": changed.get("billing_cycle_anchor"),
            "expires_at": call.now() + KEPT_SECONDS,
            "subscription_items": [render(call, item) for item in after.items],
            "trial_end": after.subscription["trial_end"],
            "trial_from_plan": None,
        },
        "_pending": {"invoice": invoice["id"], "changed": changed, "items": after.items},
    }
    return call.store.save(subscription)


def is_paid_by(subscription: Object, invoice: Object) -> bool:
    """Say whether a change of this subscription waits for this invoice."""
    return bool((subscription.get("_pending") or {}).get("invoice") == invoice["id"])


def carry_out(call: Call, subscription: Object) -> None:
    """Make the change that was waiting, and tell of it."""
    before, waiting = render(call, deepcopy(subscription)), subscription["_pending"]
    changed = waiting["changed"] | {"pending_update": None, "_pending": None}
    after = restore(call, Snapshot(subscription | changed, waiting["items"]))
    events.emit_update(call, "customer.subscription.updated", before, after)
    events.emit(call, "customer.subscription.pending_update_applied", after)


def forget(call: Call, subscription: Object) -> None:
    """Give up the change that was waiting, and its invoice with it."""
    before, waiting = render(call, deepcopy(subscription)), subscription["_pending"]
    invoice = fetch(call, "invoice", waiting["invoice"])
    if invoice["status"] == "open":
        collecting.void(call, invoice)
    call.store.save(subscription | {"pending_update": None, "_pending": None})
    subscription |= {"pending_update": None, "_pending": None}
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    events.emit(call, "customer.subscription.pending_update_expired", subscription)
