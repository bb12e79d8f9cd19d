"""When a subscription is to end: at an instant, at the end of what is paid for, or not at all any more."""

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.resources import subscription_items
from portal.sandbox.store import Object


def schedule(call: Call, subscription: Object, values: Values) -> None:
    """Set or take back when the subscription is to end; `cancel_at` and the period's end are told apart."""
    if "cancel_at" in values and "cancel_at_period_end" in values:
        raise invalid("Send cancel_at or cancel_at_period_end, not both.", "cancel_at")
    if "cancel_at" in values:
        at, by_period = _end_named(call, subscription, values["cancel_at"]), False
    elif "cancel_at_period_end" in values:
        by_period = values["cancel_at_period_end"]
        at = _period_end(call, subscription, latest=True) if by_period else None
    else:
        return
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


def _end_named(call: Call, subscription: Object, named: int | str | None) -> int | None:
    if isinstance(named, str):
        return _period_end(call, subscription, latest=named == "max_period_end")
    if named is not None and named <= call.now():
        raise invalid("cancel_at must lie in the future.", "cancel_at")
    return named


def _period_end(call: Call, subscription: Object, *, latest: bool) -> int:
    ends = [item["current_period_end"] for item in subscription_items.of_subscription(call, subscription["id"])]
    return int(max(ends) if latest else min(ends))
