"""When a subscription is to end: at an instant, at the end of what is paid for, or not at all any more."""

from portal.sandbox import proration
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object


def schedule(call: Call, subscription: Object, values: Values) -> bool:
    """Set or take back when the subscription is to end, and say whether that was asked for.

    `cancel_at` and the period's end are told apart. The caller saves the subscription.
    """
    if "cancel_at" in values and "cancel_at_period_end" in values:
        raise invalid("Send cancel_at or cancel_at_period_end, not both.", "cancel_at")
    if "cancel_at" in values:
        at, by_period = _end_named(call, subscription, values["cancel_at"]), False
    elif "cancel_at_period_end" in values:
        by_period = values["cancel_at_period_end"]
        # Of items with several ends Stripe takes the earliest (its changelog of basil, 2025-05-28 and 2025-07-30).
        at = _period_end(call, subscription, latest=False) if by_period else None
    else:
        return False
    if subscription["schedule"] is not None:
        raise invalid(
            f"The schedule {subscription['schedule']} says when the subscription ends; change or release that.",
            "cancel_at" if "cancel_at" in values else "cancel_at_period_end",
        )
    details = subscription["cancellation_details"]
    details["reason"] = "cancellation_requested" if at is not None else None
    subscription |= {
        "cancel_at": at,
        "cancel_at_period_end": by_period,
        "canceled_at": call.now() if at is not None else None,
    }
    return True


def settle(call: Call, subscription: Object) -> bool:
    """Give back what is billed beyond the end of a subscription, or bill what was given back when it goes on after all.

    Says whether anything waits for that now.
    """
    customer = fetch(call, "customer", subscription["customer"])
    items = subscription_items.of_subscription(call, subscription["id"])
    costs = proration.nets(call, subscription, items)
    done = False
    for item in items:
        billed = item.get("_billed")
        if subscription["status"] == "trialing" or billed is None or billed["end"] <= call.now():
            continue
        last = min(item["current_period_end"], subscription["cancel_at"] or item["current_period_end"])
        if last < billed["end"]:
            waiting = proration.give_back(call, customer, item, last)
            left = billed["amount"] + (waiting["amount"] if waiting else 0)
            call.store.save(item | {"_billed": billed | {"amount": left, "end": last}})
        elif last > billed["end"]:
            more = proration.ask_for(call, customer, item, costs[item["id"]], billed["end"], last)["_billed"]
            call.store.save(item | {"_billed": billed | {"amount": billed["amount"] + more["amount"], "end": last}})
        done = done or last != billed["end"]
    return done


def _end_named(call: Call, subscription: Object, named: int | str | None) -> int | None:
    if isinstance(named, str):
        return _period_end(call, subscription, latest=named == "max_period_end")
    if named is not None and named <= call.now():
        raise invalid("cancel_at must lie in the future.", "cancel_at")
    return named


def _period_end(call: Call, subscription: Object, *, latest: bool) -> int:
    ends = [item["current_period_end"] for item in subscription_items.of_subscription(call, subscription["id"])]
    return int(max(ends) if latest else min(ends))
