"""Thin events: the same events as the snapshots, told without the object."""

from datetime import UTC, datetime

from portal.sandbox.store import Object


def iso(timestamp: int) -> str:
    """Return an instant as API v2 writes it."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def notification(event: Object) -> Object:
    """Return the thin form of a stored snapshot event, as it is delivered."""
    request = event["request"]
    obj = event["data"]["object"]
    reason = None
    if request["id"] is not None:
        named = {"id": request["id"], "idempotency_key": request["idempotency_key"] or ""}
        reason = {"request": named, "type": "request"}
    return {
        "id": event["_thin_id"],
        "object": "v2.core.event",
        "context": None,
        "created": iso(event["created"]),
        "livemode": False,
        "reason": reason,
        # A summary has no id, and stands at no address.
        "related_object": {"id": obj["id"], "type": obj["object"], "url": _address(obj)} if "id" in obj else None,
        "snapshot_event": event["id"],
        "type": f"v1.{event['type']}",
    }


def _address(obj: Object) -> str:
    """Return where the object of an event can be read: every type stands under its own plural."""
    return f"/v1/{obj['object'].replace('.', '/')}s/{obj['id']}"
