"""What the clock does to subscriptions: trials end, periods renew, pauses of collection run out, and plans end."""

from collections.abc import Callable
from copy import deepcopy

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.registry import render
from portal.sandbox.renewing import begin_period, items_due
from portal.sandbox.resources import subscription_items, subscription_pausing, subscriptions
from portal.sandbox.standing import card_of
from portal.sandbox.store import Condition, Object, one_of

TRIAL_NOTICE_SECONDS = 3 * 86400
_RUNNING = ("active", "past_due", "trialing")
# Asked at every request, so each part goes by an index: the joins are crossed to keep SQLite from turning them around.
_DUE = """
SELECT id FROM objects WHERE type = 'subscription' AND json_extract(body, '$.cancel_at') <= ?
    AND json_extract(body, '$.ended_at') IS NULL
UNION SELECT id FROM objects WHERE type = 'subscription'
    AND json_extract(body, '$.pause_collection.resumes_at') <= ? AND json_extract(body, '$.ended_at') IS NULL
UNION SELECT subscriptions.id FROM objects AS items
    CROSS JOIN objects AS subscriptions ON subscriptions.id = json_extract(items.body, '$.subscription')
    WHERE items.type = 'subscription_item' AND json_extract(items.body, '$.current_period_end') <= ?
    AND json_extract(subscriptions.body, '$.status') IN ('active', 'past_due', 'trialing')
"""
_Act = Callable[[Call, Object], None]


def tell_of_trial_ends(call: Call) -> None:
    """Tell three days before a trial ends; of a shorter trial at once."""
    near = Condition(
        "json_extract(body, '$.trial_end') <= ? AND json_extract(body, '$._trial_end_told') IS NULL",
        (call.now() + TRIAL_NOTICE_SECONDS,),
    )
    if not call.store.find("subscription", [one_of("status", ("trialing",)), near], limit=1):
        return
    with call.store.transaction():
        for subscription in call.store.find("subscription", [one_of("status", ("trialing",)), near], oldest_first=True):
            call.store.save(subscription | {"_trial_end_told": True})
            due_at = max(subscription["trial_end"] - TRIAL_NOTICE_SECONDS, subscription["trial_start"])
            events.emit(call.dated(due_at), "customer.subscription.trial_will_end", subscription)


def carry_on(call: Call) -> None:
    """Carry out everything that has come due, each act dated when it was due and in that order."""
    if not _due(call):
        return
    with call.store.transaction():
        for subscription in _due(call):
            while (step := _next(call, subscription)) is not None:
                at, act = step
                act(call.dated(at), subscription)


def _due(call: Call) -> list[Object]:
    found = [call.store.get("subscription", row["id"]) for row in call.store.query(_DUE, (call.now(),) * 3)]
    due = [(step[0], one) for one in found if one is not None and (step := _next(call, one)) is not None]
    return [one for _, one in sorted(due, key=lambda entry: entry[0])]


def _next(call: Call, subscription: Object) -> tuple[int, _Act] | None:
    """Return what is due first, and when it was; an end comes before a renewal at the same instant."""
    if subscription["status"] in subscriptions.ENDED:
        return None
    acts: list[tuple[int, _Act]] = []
    if subscription["cancel_at"] is not None:
        acts.append((subscription["cancel_at"], _end))
    resumes_at = (subscription["pause_collection"] or {}).get("resumes_at")
    if resumes_at is not None:
        acts.append((resumes_at, _collect_again))
    if subscription["status"] in _RUNNING:
        items = subscription_items.of_subscription(call, subscription["id"])
        acts.append((min(item["current_period_end"] for item in items), _renew))
    due = [(at, act) for at, act in acts if at <= call.now()]
    return min(due, key=lambda step: step[0]) if due else None


def _end(call: Call, subscription: Object) -> None:
    """End a plan when it was asked to end; when that was asked stays in `canceled_at`."""
    asked_at, cancel_at, by_period = (
        subscription[name] for name in ("canceled_at", "cancel_at", "cancel_at_period_end")
    )
    subscriptions.end(call, subscription, {}, canceled_at=asked_at, cancel_at=cancel_at, cancel_at_period_end=by_period)


def _collect_again(call: Call, subscription: Object) -> None:
    before = render(call, deepcopy(subscription))
    subscription["pause_collection"] = None
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def _renew(call: Call, subscription: Object) -> None:
    if subscription["status"] == "trialing" and card_of(call, subscription) is None:
        behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if behavior == "cancel":
            subscriptions.end(call, subscription, {})
            return
        if behavior == "pause":
            subscription_pausing.pause_now(call, subscription, "trial_end_without_payment_method")
            return
    begin_period(call, subscription, items_due(call, subscription, call.now()))
