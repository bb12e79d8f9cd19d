"""Changing what a subscription is made of: its items, its trial, its billing day. And what that bills or gives back.

`read` says what is asked for and refuses what cannot be; `apply` does it and returns the invoice that is due at once,
as a draft. Nothing is charged here, so that a preview can do the very same.
"""

from dataclasses import dataclass, replace

from portal.sandbox import beginning, proration, renewing, usage_billing
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.item_changes import ItemChange, read_items
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, prices, subscription_items
from portal.sandbox.store import Object

# While it waits or is free, a change moves no money.
_WITHOUT_PRORATION = ("paused", "trialing")


@dataclass(frozen=True)
class Change:
    """What is asked for. `at` is the instant from which it is billed; `trial_end` is None when no trial is asked for."""

    items: list[ItemChange]
    prorates: bool
    invoices_at_once: bool
    at: int
    begins_anew: bool
    trial_end: int | None


def read(call: Call, subscription: Object, values: Values) -> Change:
    """Return the change that the parameters ask for, or raise the 400 that says why it cannot be."""
    items = read_items(call, subscription, values.get("items", []))
    behavior = values.get("proration_behavior", "create_prorations")
    trial_end, anchor = values.get("trial_end"), values.get("billing_cycle_anchor", {}).get("type")
    if isinstance(trial_end, int):
        beginning.check_trial_end(call, trial_end, "trial_end")
    ends_trial = trial_end == "now" and subscription["status"] == "trialing"
    change = Change(
        items=items,
        prorates=behavior != "none",
        invoices_at_once=behavior == "always_invoice",
        at=_prorated_from(call, subscription, values),
        begins_anew=anchor == "now" or ends_trial,
        trial_end=trial_end if isinstance(trial_end, int) else None,
    )
    if change.begins_anew and change.trial_end is not None:
        raise invalid("A trial that goes on and a period that begins now exclude each other.", "billing_cycle_anchor")
    if anchor == "unchanged" or ends_trial or subscription["status"] in _WITHOUT_PRORATION:
        return change
    return replace(
        change, begins_anew=change.begins_anew or _changes_rhythm(call, items) or _begins_to_cost(call, items)
    )


def _prorated_from(call: Call, subscription: Object, values: Values) -> int:
    at = values.get("proration_date")
    if at is None:
        return call.now()
    items = subscription_items.of_subscription(call, subscription["id"])
    if not max(one["current_period_start"] for one in items) <= at < min(one["current_period_end"] for one in items):
        raise invalid("proration_date must lie within the current period.", "proration_date")
    return int(at)


def _changes_rhythm(call: Call, items: list[ItemChange]) -> bool:
    """Say whether an item is to be paid in another rhythm, which no day of the old one fits."""
    kept = [(one.old, one.new) for one in items if one.old is not None and one.new is not None]
    return any(_rhythm(call, old) != _rhythm(call, new) for old, new in kept)


def _rhythm(call: Call, item: Object) -> tuple[str, int]:
    recurring = fetch(call, "price", item["price"])["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _begins_to_cost(call: Call, items: list[ItemChange]) -> bool:
    """Say whether what was free is to be paid for: its first day is the billing day then."""
    before = sum(_cost(call, one.old) for one in items)
    return before == 0 and sum(_cost(call, one.new) for one in items) > 0


def _cost(call: Call, item: Object | None) -> int:
    return prices.cost(fetch(call, "price", item["price"]), item["quantity"]) if item else 0


def apply(call: Call, subscription: Object, change: Change) -> Object | None:
    """Make the change; returns the draft of what is due at once, or None. The caller saves the subscription."""
    customer = fetch(call, "customer", subscription["customer"])
    prorates = change.prorates and subscription["status"] not in _WITHOUT_PRORATION
    whole = change.begins_anew or change.trial_end is not None
    changed = [one for one in change.items if one.is_change]
    if prorates:
        for one in change.items if whole else changed:
            if one.old is not None:
                proration.give_back(call, customer, one.old, change.at)
        _settle_usage(call, subscription, customer, change)
    items = [_save(call, subscription, one, change.at) for one in change.items if one.new is not None]
    for one in change.items:
        if one.new is None and one.old is not None:
            call.store.delete(one.old["id"])
    if change.trial_end is not None:
        _try_until(call, subscription, items, change.trial_end)
    elif change.begins_anew:
        return _begin_anew(call, subscription, items)
    elif prorates:
        _ask_for_the_rest(call, subscription, customer, change, items)
    return draft_of_prorations(call, subscription) if change.invoices_at_once else None


def _settle_usage(call: Call, subscription: Object, customer: Object, change: Change) -> None:
    """Bill what was used at a metered price that goes or becomes another; the next one counts from there."""
    for one in change.items:
        if one.is_change and one.old is not None and _is_metered(call, one.old):
            usage_billing.settle(call, subscription, customer, one.old, change.at)


def _is_metered(call: Call, item: Object) -> bool:
    return prices.is_metered(fetch(call, "price", item["price"]))


def _save(call: Call, subscription: Object, change: ItemChange, at: int) -> Object:
    item = change.new
    assert item is not None
    if change.is_change and _is_metered(call, item):
        item |= {"_counts_from": at}
    if change.old is not None:
        return call.store.save(item)
    call.store.insert("subscription_item", item)
    if subscription["status"] == "trialing":
        period = {"current_period_start": call.now(), "current_period_end": subscription["trial_end"]}
        return call.store.save(item | period)
    renewing.move_on(call, subscription, [item])
    return fetch(call, "subscription_item", item["id"])


def _ask_for_the_rest(call: Call, subscription: Object, customer: Object, change: Change, items: list[Object]) -> None:
    costs = proration.nets(call, subscription, items)
    touched = {one.new["id"] for one in change.items if one.is_change and one.new is not None}
    for item in items:
        if item["id"] in touched and not _is_metered(call, item):
            proration.ask_for(call, customer, item, costs[item["id"]], change.at, subscription["cancel_at"])


def _try_until(call: Call, subscription: Object, items: list[Object], trial_end: int) -> None:
    """Let the subscription cost nothing until an instant, at which its first paid period begins."""
    start = subscription["trial_start"] if subscription["status"] == "trialing" else call.now()
    subscription |= {
        "billing_cycle_anchor": trial_end,
        "status": "trialing",
        "trial_end": trial_end,
        "trial_start": start,
        "_trial_end_told": None,
    }
    for item in items:
        period = {"current_period_start": start, "current_period_end": trial_end}
        call.store.save(item | period | {"_billed": None})


def _begin_anew(call: Call, subscription: Object, items: list[Object]) -> Object | None:
    """Begin a period at this instant, which is the billing day from now on."""
    subscription["billing_cycle_anchor"] = call.now()
    if subscription["status"] == "trialing":
        subscription["trial_end"] = call.now()
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = None  # It moves with the period, and must not cut that short.
    invoice = renewing.draft_period(call, subscription, items, "subscription_update", resets=True)
    if subscription["cancel_at_period_end"]:
        moved = subscription_items.of_subscription(call, subscription["id"])
        subscription["cancel_at"] = min(item["current_period_end"] for item in moved)
    return invoice


def draft_of_prorations(call: Call, subscription: Object) -> Object | None:
    """Write the invoice of what waits, if anything does and it is collected at all. The caller saves the subscription."""
    waiting = invoice_items.pending(call, subscription["customer"], subscription["id"], subscription["currency"])
    if not waiting or subscription["pause_collection"] is not None:
        return None
    return renewing.draft(call, subscription, [], "subscription_update")
