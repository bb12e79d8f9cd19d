"""Thin events, as API v2 gives them one by one."""

from portal.sandbox import thin
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import no_such
from portal.sandbox.registry import Resource, register
from portal.sandbox.store import Object, equals


def retrieve(call: Call, _: Values, event_id: str) -> Object:
    """`GET /v2/core/events/{id}`: what was delivered, and the values before of what changed."""
    found = call.store.find("event", [equals("_thin_id", event_id)], limit=1)
    if not found:
        raise no_such("event", event_id, "id", in_path=True)
    before = found[0]["data"].get("previous_attributes")
    after = {name: found[0]["data"]["object"].get(name) for name in before or {}}
    return thin.notification(found[0]) | {"changes": {"before": before, "after": after} if before else None}


register(Resource("v2.core.event", "event"))
ENDPOINTS = (Endpoint("GET", "/v2/core/events/{id}", {}, retrieve, "v2.core.event"),)
