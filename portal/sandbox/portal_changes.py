"""Changing a plan in the customer portal: at once or when the period ends, as the configuration says, and the preview.

All of it goes through the API's own handlers, and the preview carries out the very same change and takes it back.
"""

from dataclasses import dataclass

from portal.sandbox import plan_offers
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.plan_offers import Choice
from portal.sandbox.previewing import preview
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscription_schedules, subscription_updates
from portal.sandbox.store import Object

# What a preview is good for: the change is then billed from the instant for which it was shown.
PREVIEW_SECONDS_MAX = 10 * 60
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True)
class Outlook:
    """What a change brings: the invoice in wire form, when that is due, and what a period costs from then on."""

    invoice: Object
    at_once: bool
    recurring: Object | None

    @property
    def due_now(self) -> int:
        """Return what is charged at once, in the smallest unit."""
        return int(self.invoice["amount_due"]) if self.at_once else 0


def is_for_later(call: Call, configuration: Object, subscription: Object, choice: Choice) -> bool:
    """Say whether a change is made only when the period ends. In a trial nothing is paid for, so it is made at once."""
    update, item = configuration["features"]["subscription_update"], plan_offers.item_of(call, subscription)
    old = fetch(call, "price", item["price"])
    holds = {
        "decreasing_item_amount": _cost(choice.price, choice.quantity) < _cost(old, item["quantity"]),
        "shortening_interval": _length(choice.price) < _length(old),
    }
    asked = {one["type"] for one in update["schedule_at_period_end"]["conditions"]}
    return subscription["status"] != "trialing" and any(holds[name] for name in asked)


def _cost(price: Object, quantity: int) -> int:
    return int(price["unit_amount"] * quantity)


def _length(price: Object) -> int:
    recurring = price["recurring"]
    return int(_DAYS[recurring["interval"]] * recurring["interval_count"])


def change(call: Call, configuration: Object, subscription: Object, choice: Choice, at: int) -> None:
    """Make a change, billed from the instant `at`; raises when its payment is refused, and the plan stays as it was."""
    if is_for_later(call, configuration, subscription, choice):
        _plan(call, subscription, choice)
        return
    values = _parameters(call, configuration, subscription, choice)
    values |= {"payment_behavior": "error_if_incomplete", "proration_date": at}
    subscription_updates.update(call, values, subscription["id"])


def look_ahead(call: Call, configuration: Object, subscription: Object, choice: Choice, at: int) -> Outlook:
    """Return what a change would bring."""
    if is_for_later(call, configuration, subscription, choice):
        with call.store.rehearsal():
            invoice = preview(call, {"schedule": _plan(call, subscription, choice)["id"]})
        return Outlook(invoice, at_once=False, recurring=None)
    details = _parameters(call, configuration, subscription, choice)
    asked: Values = {"subscription": subscription["id"], "subscription_details": details | {"proration_date": at}}
    if "discounts" in details:
        asked["discounts"] = details.pop("discounts")
        del asked["subscription_details"]["discounts"]
    invoice = preview(call, asked)
    # What comes by itself is dated when it comes.
    return Outlook(invoice, invoice["created"] <= call.now(), preview(call, asked | {"preview_mode": "recurring"}))


def _parameters(call: Call, configuration: Object, subscription: Object, choice: Choice) -> Values:
    update, item = configuration["features"]["subscription_update"], plan_offers.item_of(call, subscription)
    values: Values = {
        "items": [{"id": item["id"], "price": choice.price["id"], "quantity": choice.quantity}],
        "proration_behavior": update["proration_behavior"],
    }
    if choice.discounts is not None:
        values["discounts"] = choice.discounts
    if subscription["status"] == "trialing":
        return values | ({"trial_end": "now"} if update["trial_update_behavior"] == "end_trial" else {})
    # Unchanged is what the API does by itself, as far as the new rhythm allows it.
    return values | ({"billing_cycle_anchor": {"type": "now"}} if update["billing_cycle_anchor"] == "now" else {})


def _plan(call: Call, subscription: Object, choice: Choice) -> Object:
    """Let a schedule make the change when the period ends; returns the schedule in wire form."""
    made = subscription_schedules.create(call, {"from_subscription": subscription["id"]})
    current = made["phases"][0]
    discounts = [{"discount": one} for one in subscription["discounts"]]
    item = plan_offers.item_of(call, subscription)
    now = {
        "discounts": discounts,
        "end_date": current["end_date"],
        "items": [{"price": item["price"], "quantity": item["quantity"], "metadata": item["metadata"]}],
        "start_date": current["start_date"],
    }
    then = {
        "discounts": discounts if choice.discounts is None else choice.discounts,
        "items": [{"price": choice.price["id"], "quantity": choice.quantity}],
        "proration_behavior": "none",
    }
    return subscription_schedules.update(call, {"phases": [now, then]}, made["id"])


def planned(call: Call, subscription: Object) -> Object | None:
    """Return the phase that a subscription's schedule brings next, or None when none does."""
    if subscription["schedule"] is None:
        return None
    phases = fetch(call, "subscription_schedule", subscription["schedule"])["phases"]
    return next((phase for phase in phases if phase["start_date"] > call.now()), None)


def take_back(call: Call, subscription: Object) -> None:
    """Let a subscription go on without the change that its schedule would bring."""
    subscription_schedules.release(call, {}, subscription["schedule"])
