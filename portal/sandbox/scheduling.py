"""Schedules as time goes by: they start, go from phase to phase, and let go of their subscription in the end."""

from copy import deepcopy
from typing import Any

from portal.sandbox import collecting, events, schedule_phases, standing, subscribing, usage_billing
from portal.sandbox.billing_lines import OrderLine
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import payment_methods, prices, subscription_items, subscription_updates
from portal.sandbox.store import Condition, Object, equals


def not_started(call: Call) -> list[Object]:
    """Return the schedules whose day has come."""
    due = [
        equals("status", "not_started"),
        Condition("json_extract(body, '$.phases[0].start_date') <= ?", (call.now(),)),
        equals("test_clock", call.test_clock),
    ]
    return call.store.find("subscription_schedule", due, oldest_first=True)


def start(call: Call, schedule: Object) -> Object:
    """Begin the subscription of a schedule with its first phase; returns the schedule.

    Nobody waits for the answer of a bank when a plan begins by itself: without money the subscription is past due.
    """
    before, phase = render(call, deepcopy(schedule)), schedule["phases"][0]
    customer = fetch(call, "customer", schedule["customer"])
    chosen = _card(call, schedule, phase) or _card(call, schedule, schedule["default_settings"])
    lines = [OrderLine(fetch(call, "price", item["price"]), item["quantity"]) for item in phase["items"]]
    values: Values = {"default_payment_method": chosen, "metadata": phase["metadata"]}
    if phase["discounts"]:
        values["discounts"] = _sent(phase["discounts"])
    order = subscribing.Order(
        customer=customer,
        lines=lines,
        payment_method=None,
        trial_end=None,
        values=values,
        by_schedule=True,
    )
    subscription, refused = subscribing.begin(call, order)
    subscription = fetch(call, "subscription", subscription["id"])
    schedule |= {
        "current_phase": schedule_phases.window(phase),
        "status": "active",
        "subscription": subscription["id"],
    }
    call.store.save(schedule)
    events.emit_update(call, "subscription_schedule.updated", before, schedule)
    attach(call, schedule, subscription)
    if refused is not None:
        standing.after_refusal(call, fetch(call, "invoice", subscription["latest_invoice"]))
    return fetch(call, "subscription_schedule", schedule["id"])


def _card(call: Call, owner: Object, settings: Object) -> str | None:
    """Return the card that a phase or a schedule names, if it was not detached meanwhile."""
    chosen: str | None = settings["default_payment_method"]
    return chosen if chosen and payment_methods.is_of_customer(call, chosen, owner["customer"]) else None


def _sent(discounts: list[Object]) -> list[Values]:
    """Return what a phase takes off as a subscription is asked for it; it was checked when the phase was asked for."""
    return [
        {name: value for name, value in one.items() if value is not None} | {"_scheduled": True} for one in discounts
    ]


def attach(call: Call, schedule: Object, subscription: Object) -> None:
    """Let a subscription follow a schedule, and end with it if the schedule says so."""
    before = render(call, deepcopy(subscription))
    subscription["schedule"] = schedule["id"]
    set_end(schedule, subscription)
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def set_end(schedule: Object, subscription: Object) -> None:
    """Note on a subscription when its schedule ends it. The caller saves the subscription."""
    ends = schedule["end_behavior"] == "cancel"
    subscription["cancel_at"] = schedule["phases"][-1]["end_date"] if ends else None
    subscription["cancel_at_period_end"] = False


def next_step_at(call: Call, subscription: Object) -> int | None:
    """Return when the current phase of a subscription's schedule ends, or None when it follows none."""
    schedule = schedule_phases.of_subscription(call, subscription)
    return schedule["current_phase"]["end_date"] if schedule and schedule["current_phase"] else None


def go_on(call: Call, subscription: Object) -> None:
    """Enter the next phase and take what is due for that at once, or let the subscription go after the last."""
    before = render(call, deepcopy(subscription))
    invoice = enter_next(call, subscription)
    call.store.save(subscription)
    if invoice is not None and subscription["status"] != "unpaid":
        collecting.finalize(call, invoice, description="Subscription update")
        error = standing.collect(call, invoice, standing.card_of(call, subscription))
        events.emit_update(call, "customer.subscription.updated", before, subscription)
        if error is None:
            standing.after_payment(call, invoice)
        else:
            standing.after_refusal(call, invoice)
        return
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def enter_next(call: Call, subscription: Object) -> Object | None:
    """Enter the next phase; returns the draft of what is due for it at once. The caller saves the subscription."""
    schedule = schedule_phases.of_subscription(call, subscription)
    assert schedule is not None
    phase = schedule_phases.at(schedule, call.now())
    if phase is None:
        _complete(call, schedule, subscription)
        return None
    before = render(call, deepcopy(schedule))
    call.store.save(schedule | {"current_phase": schedule_phases.window(phase)})
    events.emit_update(
        call, "subscription_schedule.updated", before, schedule | {"current_phase": schedule_phases.window(phase)}
    )
    return apply_phase(call, subscription, phase, phase["proration_behavior"])


def apply_phase(call: Call, subscription: Object, phase: Object, proration_behavior: str) -> Object | None:
    """Give a subscription what a phase asks for; returns the draft of what is due for it at once."""
    subscription["default_payment_method"] = _card(call, subscription, phase) or subscription["default_payment_method"]
    subscription["description"] = phase["description"] or subscription["description"]
    subscription["metadata"] = subscription["metadata"] | phase["metadata"]
    values: dict[str, Any] = {}
    # A discount that was used up before the phase begins is not given again.
    wanted = [one for one in phase["discounts"] if one["discount"] in (None, *subscription["discounts"])]
    if _coupons(call, subscription["discounts"]) != _coupons(call, wanted):
        values["discounts"] = _sent(wanted)
    items = schedule_phases.change_to(call, subscription, phase)
    if items:
        values |= {"items": items, "proration_behavior": proration_behavior}
    due = _is_due(call, subscription)
    if due and proration_behavior != "none":
        _settle_usage(call, subscription, items)
    if due:
        # The period ends here as well: the renewal bills what there is then, and there is nothing to prorate.
        values |= {"billing_cycle_anchor": {"type": "unchanged"}, "proration_behavior": "none"}
        if not _keeps_rhythm(call, subscription, phase):
            subscription["billing_cycle_anchor"] = call.now()
    elif phase["billing_cycle_anchor"] == "phase_start" and phase["start_date"] == call.now():
        values |= {"billing_cycle_anchor": {"type": "now"}, "proration_behavior": proration_behavior}
    invoice = subscription_updates.prepare(call, subscription, values)
    if due:
        _leave_to_renewal(call, subscription)
    return invoice


def _settle_usage(call: Call, subscription: Object, changes: list[Values]) -> None:
    """Let the renewal at this instant bill what was used at a metered price that ends with the period."""
    customer = fetch(call, "customer", subscription["customer"])
    touched = {one["id"] for one in changes if "id" in one}
    for item in subscription_items.of_subscription(call, subscription["id"]):
        if item["id"] in touched and prices.is_metered(fetch(call, "price", item["price"])):
            usage_billing.settle(call, subscription, customer, item, call.now())


def _leave_to_renewal(call: Call, subscription: Object) -> None:
    """Let the renewal at this instant bill what the phase has added, which has begun a period of its own by now."""
    for item in subscription_items.of_subscription(call, subscription["id"]):
        if item["current_period_start"] == call.now():
            call.store.save(item | {"current_period_end": call.now()})


def _coupons(call: Call, discounts: list[Any]) -> set[str]:
    """Return the coupons of discounts, which stand as ids or as a phase names them."""
    found = set()
    for one in discounts:
        discount_id = one if isinstance(one, str) else one["discount"]
        if discount_id is not None:
            found.add(fetch(call, "discount", discount_id)["source"]["coupon"])
        elif one["promotion_code"] is not None:
            found.add(fetch(call, "promotion_code", one["promotion_code"])["promotion"]["coupon"])
        else:
            found.add(one["coupon"])
    return found


def _keeps_rhythm(call: Call, subscription: Object, phase: Object) -> bool:
    """Say whether a phase is paid in the rhythm that there is, so that its periods fit the old billing day."""
    old = subscription_items.of_subscription(call, subscription["id"])
    before, after = (
        [fetch(call, "price", one["price"])["recurring"] for one in items] for items in (old, phase["items"])
    )
    return _rhythms(after) <= _rhythms(before)


def _rhythms(recurring: list[Object]) -> set[tuple[str, int]]:
    return {(one["interval"], one["interval_count"]) for one in recurring}


def _is_due(call: Call, subscription: Object) -> bool:
    items = subscription_items.of_subscription(call, subscription["id"])
    return min(item["current_period_end"] for item in items) <= call.now()


def release(call: Call, schedule: Object, subscription: Object | None, *, keep_end: bool = False) -> None:
    """Let a subscription go on without its schedule. The caller saves the subscription."""
    _let_go(call, schedule, "released")
    if subscription is not None:
        subscription["schedule"] = None
        if not keep_end:
            subscription["cancel_at"] = None


def _complete(call: Call, schedule: Object, subscription: Object) -> None:
    """Let a subscription go on after the last phase of its schedule. The caller saves the subscription."""
    _let_go(call, schedule, "completed")
    subscription |= {"schedule": None, "cancel_at": None}


def _let_go(call: Call, schedule: Object, status: str) -> None:
    schedule |= {
        "current_phase": None,
        "released_subscription": schedule["subscription"],
        "status": status,
        "subscription": None,
        f"{status}_at": call.now(),
    }
    call.store.save(schedule)
    events.emit(call, f"subscription_schedule.{status}", schedule)
