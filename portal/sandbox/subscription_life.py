"""What the clock does to subscriptions: they begin by schedule, trials end, periods renew, pauses run out, plans end."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

from portal.sandbox import (
    agenda,
    cancelling,
    collecting,
    draft_time,
    events,
    pending_updates,
    schedule_phases,
    scheduling,
    standing,
    trial_ends,
)
from portal.sandbox.agenda import Due
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.renewing import begin_period, items_due
from portal.sandbox.resources import subscription_items, subscription_pausing, subscriptions
from portal.sandbox.store import Object

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
    UNION SELECT id FROM objects WHERE type = 'subscription' AND json_extract(body, '$.status') = 'trialing'
        AND json_extract(body, '$.trial_end') <= :now + :notice AND json_extract(body, '$._trial_end_told') IS NULL
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
ORDER BY subscriptions.seq
"""
_Act = Callable[[Call, Object], None]


def due(call: Call) -> list[Due]:
    """Find what is due first of each subscription, and the schedules that are to begin one.

    Each act is dated when it was due, and what is due next of the same subscription follows in its turn.
    """
    starts = [
        Due(
            one["phases"][0]["start_date"],
            "start",
            one["id"],
            partial(scheduling.start, schedule=one),
            partial(_of_schedule, schedule_id=one["id"]),
        )
        for one in scheduling.not_started(call)
    ]
    values = {
        "now": call.now(),
        "incomplete": INCOMPLETE_SECONDS,
        "notice": TRIAL_NOTICE_SECONDS,
        "test_clock": call.test_clock,
    }
    found = [one for row in call.store.query(_DUE, values) for one in _of_subscription(call, row["id"])]
    return starts + found


def _of_schedule(call: Call, schedule_id: str) -> list[Due]:
    subscription_id = fetch(call, "subscription_schedule", schedule_id)["subscription"]
    return _of_subscription(call, subscription_id) if subscription_id else []


def _of_subscription(call: Call, subscription_id: str) -> list[Due]:
    """Return what is due first of a subscription; an end or a phase comes before a renewal at the same instant."""
    subscription = fetch(call, "subscription", subscription_id)
    acts = [entry for entry in _acts(call, subscription) if entry[0] <= call.now()]
    for at, act, object_id in sorted(acts, key=lambda entry: entry[0]):
        found = Due(
            at,
            _name_of(act),
            object_id,
            partial(_carry_on, act=act, subscription_id=subscription_id),
            partial(_of_subscription, subscription_id=subscription_id),
        )
        if agenda.is_open(call, found):
            return [found]
    return []


def _name_of(act: _Act) -> str:
    return str(act.func.__name__ if isinstance(act, partial) else act.__name__)


def _carry_on(call: Call, act: _Act, subscription_id: str) -> None:
    # What the acts before have done to the subscription is what this one must see.
    act(call, fetch(call, "subscription", subscription_id))


def _acts(call: Call, subscription: Object) -> list[tuple[int, _Act, str]]:
    """Return what time does to a subscription: when, what, and which object it is about."""
    own = subscription["id"]
    acts: list[tuple[int, _Act, str]] = [
        (draft["automatically_finalizes_at"], partial(draft_time.finish, invoice=draft), draft["id"])
        for draft in draft_time.waiting(call, own)
    ]
    if subscription["status"] in subscriptions.ENDED:
        return acts
    if subscription["status"] == "trialing" and not subscription.get("_trial_end_told"):
        # Of a trial that is shorter than that it is told at once.
        told_at = max(subscription["trial_end"] - TRIAL_NOTICE_SECONDS, subscription["trial_start"])
        acts.append((told_at, _tell_of_trial_end, own))
    if subscription["cancel_at"] is not None:
        acts.append((subscription["cancel_at"], _end, own))
    resumes_at = (subscription["pause_collection"] or {}).get("resumes_at")
    if resumes_at is not None:
        acts.append((resumes_at, _collect_again, own))
    if subscription.get("_resumes_at") is not None:
        acts.append((subscription["_resumes_at"], _go_on, own))
    if subscription["pending_update"] is not None:
        acts.append((subscription["pending_update"]["expires_at"], pending_updates.forget, own))
    if subscription["status"] == "incomplete":
        acts.append((subscription["created"] + INCOMPLETE_SECONDS, _expire, own))
    acts += [
        (invoice["next_payment_attempt"], partial(_try_again, invoice=invoice), invoice["id"])
        for invoice in collecting.open_invoices(call, own)
        if invoice["next_payment_attempt"] is not None
    ]
    phase_ends = scheduling.next_step_at(call, subscription)
    if phase_ends is not None:
        acts.append((phase_ends, scheduling.go_on, subscription["schedule"]))
    if subscription["status"] in _RENEWING:
        items = subscription_items.of_subscription(call, own)
        acts.append((min(item["current_period_end"] for item in items), _renew, own))
    return acts


def _tell_of_trial_end(call: Call, subscription: Object) -> None:
    call.store.save(subscription | {"_trial_end_told": True})
    events.emit(call, "customer.subscription.trial_will_end", subscription)


def _expire(call: Call, subscription: Object) -> None:
    """Let a subscription go whose first invoice was never paid, and the schedule that it may follow."""
    for invoice in collecting.open_invoices(call, subscription["id"]):
        collecting.void(call, invoice)
    before = render(call, deepcopy(subscription))
    schedule_phases.close(call, subscription)
    subscription |= {"ended_at": call.now(), "status": "incomplete_expired"}
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


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
