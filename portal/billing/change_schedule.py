"""The schedule at Stripe that brings a change when the period ends: made, changed, or let go. No money moves here."""

from __future__ import annotations

from portal.billing.change_claim import Work
from portal.billing.change_terms import ordered, period_of, quantities
from portal.billing.gateway import Gateway, InvalidRequest
from portal.billing.mirror import Json, ref


def follow(stripe: Gateway, work: Work, live: Json) -> None:
    """Let the schedule be what the change asks for. Done twice it is the same: what is there already is looked at first."""
    params, schedule = work.preview.params, live.get("schedule")
    if params["then"] is not None:
        _plan(stripe, work, live, schedule)
    elif params["release"] and schedule:
        _release(stripe, str(ref(schedule)), work.change.idempotency_key)


def _release(stripe: Gateway, schedule_id: str, key: str) -> None:
    try:
        stripe.release_schedule(schedule_id, f"{key}-release")
    except InvalidRequest:
        if stripe.subscription_schedule(schedule_id)["status"] not in ("released", "completed", "canceled"):
            raise


def _plan(stripe: Gateway, work: Work, live: Json, schedule: Json | None) -> None:
    key = work.change.idempotency_key
    if not schedule:
        schedule = stripe.create_schedule_of(live["id"], f"{key}-schedule")
    current = schedule["current_phase"]
    phases = [_now(live, current["start_date"]), _then(work.preview.params["then"])]
    sent = {"phases": phases, "end_behavior": "release", "proration_behavior": "none"}
    stripe.update_schedule(schedule["id"], sent, f"{key}-phases")


def _now(live: Json, start: int) -> Json:
    """The current phase, as the subscription is, until the period that is paid for ends."""
    items = [ordered(price, number) for price, number in quantities(live).items()]
    discounts = [{"discount": str(ref(one))} for one in live.get("discounts") or []]
    phase: Json = {"start_date": start, "end_date": period_of(live)[1], "items": items, "proration_behavior": "none"}
    return phase | ({"discounts": discounts} if discounts else {})


def _then(wanted: Json) -> Json:
    """There is no time left to give back when it begins. But what was used at a metered price that ends then would go unbilled
    without prorations (https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup).
    """
    phase: Json = {
        "items": wanted["items"],
        "duration": {"interval": wanted["interval"], "interval_count": 1},
        "proration_behavior": "create_prorations" if wanted.get("usage_ends") else "none",
    }
    return phase | ({"discounts": wanted["discounts"]} if wanted["discounts"] else {})
