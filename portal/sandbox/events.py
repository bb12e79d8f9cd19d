"""Events: what happened, as a snapshot, with the deliveries it asks for."""

from typing import Any

from portal.sandbox import deliveries
from portal.sandbox.call import API_VERSION, Call
from portal.sandbox.ids import new_id
from portal.sandbox.registry import render
from portal.sandbox.store import Object


def emit(call: Call, event_type: str, obj: Object, previous_attributes: Object | None = None) -> Object:
    """Record that something happened to `obj` and queue it for every endpoint that wants it; returns the event."""
    data: Object = {"object": render(call, obj)}
    if previous_attributes is not None:
        data["previous_attributes"] = previous_attributes
    event = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": call.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": call.request_id, "idempotency_key": call.idempotency_key},
        "type": event_type,
        # Under this id the same event is told without its object.
        "_thin_id": new_id("evt_test"),
    }
    call.store.insert("event", event)
    deliveries.queue(call, event)
    if event_type.startswith("customer.subscription."):
        from portal.sandbox import entitling  # It tells of what it changes by events, too.

        entitling.keep_up(call, obj)
    return event


def emit_update(call: Call, event_type: str, before: Object, obj: Object) -> Object | None:
    """Record an update of `obj`, whose wire form was `before`; nothing is recorded when nothing changed."""
    changed = differences(before, render(call, obj))
    return emit(call, event_type, obj, changed) if changed else None


def differences(before: Object, after: Object) -> Object:
    """Return the old values of what changed: hashes member by member (of a list object its `data`), lists whole, a new
    member as null.
    """
    old: dict[str, Any] = {}
    for key in {**before, **after}:
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            old[key] = differences(was, now)
        else:
            old[key] = was
    return old


def undelivered(call: Call, event_id: str) -> int:
    """Return how many endpoints have not yet answered an event with 2xx."""
    rows = call.store.query(
        "SELECT count(*) AS n FROM deliveries WHERE event_id = ? AND state IN ('pending', 'failed')", (event_id,)
    )
    return int(rows[0]["n"])
