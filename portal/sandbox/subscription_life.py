"""What the clock does to subscriptions: trials end, periods renew, pauses of collection run out, and plans end."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

from portal.sandbox import cancelling, collecting, draft_time, events, pending_updates, scheduling, standing, trial_ends
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.renewing import begin_period, items_due
from portal.sandbox.resources import subscription_items, subscription_pausing, subscriptions
from portal.sandbox.store import Condition, Object, equals, one_of

TRIAL_NOTICE_SECONDS = 3 * 86400
INCOMPLETE_SECONDS = 23 * 3600
_COLLECTED = ("active", "past_due", "trialing")
_RENEWING = ("active", "past_due", "trialing", "unpaid")
# Asked at every request, so each part goes by an index: the joins are crossed to keep SQLite from turning them around.
_DUE = """
SELECT subscriptions.id FROM (
    SELECT id FROM objects WHERE type = 'subscription' AND json_extract(body, '$.cancel_at') <= :now
        AND json_extract(body, '$.ended_at') IS NULL
    UNION SELECT id FROM objects WHERE type = 'subscription'
        AND json_extract(body, '$.pause_collection.resumes_at') <= :now AND json_extract(body, '$.ended_at') IS NULL
    UNION SELECT id FROM objects WHERE type = 'subscription'
        AND json_extract(body, '$._resumes_at') <= :now AND json_extract(body, '$.ended_at') IS NULL
    UNION SELECT id FROM objects WHERE type = 'subscription'
        AND json_extract(body, '$.pending_update.expires_at') <= :now
    UNION SELECT id FROM objects WHERE type = 'subscription'
        AND json_extract(body, '$.status') = 'incomplete' AND created <= :now - :incomplete
    UNION SELECT json_extract(body, '$.parent.subscription_details.subscription') FROM objects
        WHERE type = 'invoice' AND json_extract(body, '$.next_payment_attempt') <= :now
    UNION SELECT json_extract(body, '$.parent.subscription_details.subscription') FROM objects
        WHERE type = 'invoice' AND json_extract(body, '$.automatically_finalizes_at') <= :now
    UNION SELECT json_extract(body, '$.subscription') FROM objects
        WHERE type = 'subscription_schedule' AND json_extract(body, '$.current_phase.end_date') <= :now
    UNION SELECT renewing.id FROM objects AS items
        CROSS JOIN objects AS renewing ON renewing.id = json_extract(items.body, '$.subscription')
        WHERE items.type = 'subscription_item' AND json_extract(items.body, '$.current_period_end') <= :now
        AND json_extract(renewing.body, '$.status') IN ('active', 'past_due', 'trialing', 'unpaid')
) AS due CROSS JOIN objects AS subscriptions ON subscriptions.id = due.id
WHERE json_extract(subscriptions.body, '$.test_clock') IS :test_clock
"""
_Act = Callable[[Call, Object], None]


def tell_of_trial_ends(call: Call) -> None:
    """Tell three days before a trial ends; of a shorter trial at once."""
    near = Condition(
        "json_extract(body, '$.trial_end') <= ? AND json_extract(body, '$._trial_end_told') IS NULL",
        (call.now() + TRIAL_NOTICE_SECONDS,),
    )
    here = [one_of("status", ("trialing",)), near, equals("test_clock", call.test_clock)]
    if not call.store.find("subscription", here, limit=1):
        return
    with call.store.transaction():
        for subscription in call.store.find("subscription", here, oldest_first=True):
            call.store.save(subscription | {"_trial_end_told": True})
            due_at = max(subscription["trial_end"] - TRIAL_NOTICE_SECONDS, subscription["trial_start"])
            events.emit(call.dated(due_at), "customer.subscription.trial_will_end", subscription)


def carry_on(call: Call) -> None:
    """Carry out everything that has come due, each act dated when it was due and in that order."""
    if not _due(call):
        return
    with call.store.transaction():
        for due in _due(call):
            subscription = due
            while (step := _next(call, subscription)) is not None:
                at, act = step
                act(call.dated(at), subscription)
                # What an act has done to the subscription in the store is what the next one must see.
                subscription = fetch(call, "subscription", due["id"])


def _due(call: Call) -> list[Object]:
    values = {"now": call.now(), "incomplete": INCOMPLETE_SECONDS, "test_clock": call.test_clock}
    found = [call.store.get("subscription", row["id"]) for row in call.store.query(_DUE, values)]
    due = [(step[0], one) for one in found if one is not None and (step := _next(call, one)) is not None]
    return [one for _, one in sorted(due, key=lambda entry: entry[0])]


def _next(call: Call, subscription: Object) -> tuple[int, _Act] | None:
    """Return what is due first, and when it was; an end or a phase comes before a renewal at the same instant."""
    due = [(at, act) for at, act in _acts(call, subscription) if at <= call.now()]
    return min(due, key=lambda step: step[0]) if due else None


def _acts(call: Call, subscription: Object) -> list[tuple[int, _Act]]:
    acts: list[tuple[int, _Act]] = [
        (draft["automatically_finalizes_at"], partial(draft_time.finish, invoice=draft))
        for draft in draft_time.waiting(call, subscription["id"])
    ]
    if subscription["status"] in subscriptions.ENDED:
        return acts
    if subscription["cancel_at"] is not None:
        acts.append((subscription["cancel_at"], _end))
    resumes_at = (subscription["pause_collection"] or {}).get("resumes_at")
    if resumes_at is not None:
        acts.append((resumes_at, _collect_again))
    if subscription.get("_resumes_at") is not None:
        acts.append((subscription["_resumes_at"], _go_on))
    if subscription["pending_update"] is not None:
        acts.append((subscription["pending_update"]["expires_at"], pending_updates.forget))
    if subscription["status"] == "incomplete":
        acts.append((subscription["created"] + INCOMPLETE_SECONDS, _expire))
    acts += [
        (invoice["next_payment_attempt"], partial(_try_again, invoice=invoice))
        for invoice in collecting.open_invoices(call, subscription["id"])
        if invoice["next_payment_attempt"] is not None
    ]
    phase_ends = scheduling.next_step_at(call, subscription)
    if phase_ends is not None:
        acts.append((phase_ends, scheduling.go_on))
    if subscription["status"] in _RENEWING:
        items = subscription_items.of_subscription(call, subscription["id"])
        acts.append((min(item["current_period_end"] for item in items), _renew))
    return acts


def _expire(call: Call, subscription: Object) -> None:
    """Let a subscription go whose first invoice was never paid."""
    for invoice in collecting.open_invoices(call, subscription["id"]):
        collecting.void(call, invoice)
    standing.set_status(call, subscription, "incomplete_expired", ended_at=call.now())


def _try_again(call: Call, subscription: Object, invoice: Object) -> None:
    """Try an invoice again that was refused, with the card that pays by now."""
    if standing.collect(call, invoice, standing.card_of(call, subscription)) is None:
        standing.after_payment(call, invoice)
    else:
        standing.after_refusal(call, invoice)


def _end(call: Call, subscription: Object) -> None:
    """End a plan when it was asked to end; when that was asked stays in `canceled_at`. What waits is billed with it."""
    if subscription["status"] in _COLLECTED and subscription["pause_collection"] is None:
        cancelling.bill_last(call, subscription, prorates=False, by_clock=True)
    asked_at, cancel_at, by_period = (
        subscription[name] for name in ("canceled_at", "cancel_at", "cancel_at_period_end")
    )
    subscriptions.end(call, subscription, {}, canceled_at=asked_at, cancel_at=cancel_at, cancel_at_period_end=by_period)


def _collect_again(call: Call, subscription: Object) -> None:
    before = render(call, deepcopy(subscription))
    subscription["pause_collection"] = None
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def _go_on(call: Call, subscription: Object) -> None:
    """Let a plan go on that was paused for a time, with a period that begins then."""
    subscription_pausing.resume(call, {}, subscription["id"])


def _renew(call: Call, subscription: Object) -> None:
    if not trial_ends.ends_without_card(call, subscription):
        begin_period(call, subscription, items_due(call, subscription, call.now()))
