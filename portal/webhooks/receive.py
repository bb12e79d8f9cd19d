"""Keeping an event: one row per event id, committed before Stripe gets its 200."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.billing.switch import billing_is_on
from portal.core import jobs
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit
from portal.webhooks.counters import OTHER, count_event
from portal.webhooks.envelope import Envelope
from portal.webhooks.handlers import THIN_PREFIX, handler_of
from portal.webhooks.models import WAITING, StripeEvent


def keep(envelope: Envelope, body: bytes) -> bool:
    """Save the event in the current unit; returns whether it was new.

    While billing is switched off, what would be applied is held. A duplicate of an event that still waits wakes the
    worker again: Stripe repeats what it has no answer for, and the first hint may have been lost.
    """
    waits = "pending" if billing_is_on() else "held"
    state = waits if handler_of(envelope.type) is not None else "ignored"
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
    statement = insert(StripeEvent).values(values).on_conflict_do_nothing(index_elements=["event_id"])
    new = db.session.execute(statement.returning(StripeEvent.id)).scalar() is not None
    known = envelope.type.removeprefix(THIN_PREFIX) if handler_of(envelope.type) else OTHER
    count_event(known, {"pending": "kept"}.get(state, state) if new else "duplicate")
    if not new:
        state = db.session.execute(
            select(StripeEvent.state).where(StripeEvent.event_id == envelope.event_id)
        ).scalar_one()
    if state in WAITING:
        after_commit(jobs.hint)
    return new
