"""Keeping an event: one row per event id, committed before Stripe gets its 200."""

from __future__ import annotations

from portal.billing.switch import billing_is_on
from portal.core import jobs
from portal.core.clock import APP_NOW
from portal.core.ids import new_id
from portal.core.statements import Statement
from portal.core.unit_of_work import Run, after_commit
from portal.webhooks.counters import OTHER, count_event
from portal.webhooks.envelope import Envelope
from portal.webhooks.handlers import handler_of
from portal.webhooks.models import WAITING

# Plain SQL on purpose: Stripe waits for its answer meanwhile, and anything more takes longer than the statement itself.
KEEP = Statement(
    "insert into stripe_events"  # noqa: S608  all of it is ours
    " (id, event_id, type, object_id, snapshot_event_id, api_version, livemode, created_at, body, state, run_at)"
    " values (:id, :event_id, :type, :object_id, :snapshot_event_id, :api_version, :livemode,"
    f" :created_at, :body, :state, {APP_NOW})"
    " on conflict (event_id) do nothing returning state"
)
STATE = Statement("select state from stripe_events where event_id = :event_id")


def keep(envelope: Envelope, body: bytes, run: Run) -> bool:
    """Save the event in the current unit, whose statements `run` sends; returns whether it was new.

    While billing is switched off, what would be applied is held. A duplicate of an event that still waits wakes the
    worker again: Stripe repeats what it has no answer for, and the first hint may have been lost.
    """
    known = handler_of(envelope.type) is not None
    waits = "pending" if billing_is_on() else "held"
    values = {
        "id": new_id("evt"),
        "event_id": envelope.event_id,
        "type": envelope.type,
        "object_id": envelope.object_id,
        "snapshot_event_id": envelope.snapshot_event_id,
        "api_version": envelope.api_version,
        "livemode": envelope.livemode,
        "created_at": envelope.created_at,
        "body": body,
        "state": waits if known else "ignored",
    }
    kept = run(KEEP, values)
    ((found,),) = kept or run(STATE, values)
    state = str(found)
    count_event(envelope.type if known else OTHER, {"pending": "kept"}.get(state, state) if kept else "duplicate")
    if state in WAITING:
        after_commit(jobs.hint_soon)
    return bool(kept)
