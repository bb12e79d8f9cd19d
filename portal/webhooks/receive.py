"""Keeping an event: one row per event id, committed before Stripe gets its 200."""

from __future__ import annotations

from sqlalchemy import select, text

from portal.core import jobs
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit
from portal.webhooks.envelope import Envelope
from portal.webhooks.handlers import handler_of
from portal.webhooks.models import WAITING, StripeEvent

# Plain SQL on purpose: Stripe waits for its answer meanwhile, and composing the statement took longer than running it.
KEEP = text(
    "insert into stripe_events (id, event_id, type, object_id, api_version, livemode, created_at, body, state)"
    " values (:id, :event_id, :type, :object_id, :api_version, :livemode, :created_at, :body, :state)"
    " on conflict (event_id) do nothing returning id"
)


def keep(envelope: Envelope, body: bytes) -> bool:
    """Save the event in the current unit; returns whether it was new.

    A duplicate of an event that still waits wakes the worker again: Stripe repeats what it has no answer for, and
    the first hint may have been lost.
    """
    state = "pending" if handler_of(envelope.type) is not None else "ignored"
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
        "state": state,
    }
    new = db.session.execute(KEEP, values).first() is not None
    if not new:
        state = db.session.execute(
            select(StripeEvent.state).where(StripeEvent.event_id == envelope.event_id)
        ).scalar_one()
    if state in WAITING:
        after_commit(jobs.hint)
    return new
