"""Events, as the API lists them."""

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid
from portal.sandbox.events import undelivered
from portal.sandbox.parameters import CREATED_PAGING, Array, Boolean, Text
from portal.sandbox.registry import Resource, fetch, public, register, render
from portal.sandbox.store import Condition, Object, one_of, path_sql

LIST = CREATED_PAGING | {
    "delivery_success": Boolean(),
    "type": Text(pattern=r"[a-z0-9_.*]+"),
    "types": Array(max_items=20),
}

_UNDELIVERED = (
    "EXISTS (SELECT 1 FROM deliveries WHERE event_id = objects.id AND deliveries.state IN ('pending', 'failed'))"
)


def _render(call: Call, event: Object) -> Object:
    return public(call, event) | {"pending_webhooks": undelivered(call, event["id"])}


def retrieve(call: Call, _: Values, event_id: str) -> Object:
    """`GET /v1/events/{id}`."""
    return render(call, fetch(call, "event", event_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/events`; `type` may end in an asterisk."""
    if "type" in values and "types" in values:
        raise invalid("Send type or types, not both.", "types")
    filters = []
    if "type" in values:
        filters.append(Condition(f"{path_sql('type')} GLOB ?", (values["type"],)))
    if "types" in values:
        filters.append(one_of("type", values["types"]))
    if "delivery_success" in values:
        filters.append(Condition(f"NOT {_UNDELIVERED}" if values["delivery_success"] else _UNDELIVERED))
    return page(call, "event", values, "/v1/events", filters)


register(Resource("event", "event", render=_render))
ENDPOINTS = (
    Endpoint("GET", "/v1/events", LIST, index, "event", lists=True),
    Endpoint("GET", "/v1/events/{id}", {}, retrieve, "event"),
)
