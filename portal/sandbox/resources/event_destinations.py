"""Event destinations of API v2: webhook endpoints that are sent whole events or thin ones."""

from portal.sandbox import destinations, ids
from portal.sandbox.call import API_VERSION, Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Array, Choice, Hash, Metadata, Text, Url, merge_metadata
from portal.sandbox.registry import Resource, fetch, public, register
from portal.sandbox.store import Object
from portal.sandbox.thin import iso

_TYPE = "v2.core.event_destination"
_URL = "webhook_endpoint.url"
_SIGNING = "webhook_endpoint.signing_secret"
CREATE = {
    "description": Text(),
    "enabled_events": Array(item=Text(pattern=r"\*|[a-z0-9_]+(\.[a-z0-9_]+)+"), max_items=400, required=True),
    "event_payload": Choice(options=("snapshot", "thin"), required=True),
    "events_from": Array(item=Choice(options=("@self",))),
    "include": Array(item=Choice(options=(_SIGNING, _URL))),
    "metadata": Metadata(),
    "name": Text(required=True),
    "snapshot_api_version": Choice(options=(API_VERSION,)),
    "type": Choice(options=("webhook_endpoint",), required=True),
    "webhook_endpoint": Hash(fields={"url": Url(required=True)}),
}
RETRIEVE = {"include": Array(item=Choice(options=(_URL,)))}


def create(call: Call, values: Values) -> Object:
    """`POST /v2/core/event_destinations`; this answer alone can hold the secret."""
    if not values["enabled_events"]:
        raise invalid("Name at least one event, or *.", "enabled_events")
    if "webhook_endpoint" not in values:
        raise invalid("Send the address.", "webhook_endpoint[url]", "parameter_missing")
    snapshot = values["event_payload"] == "snapshot"
    destination: Object = {
        "id": ids.new_id("ed_test"),
        "object": _TYPE,
        "created": call.now(),
        "description": values.get("description", ""),
        "enabled_events": values["enabled_events"],
        "event_payload": values["event_payload"],
        "events_from": ["@self"],
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "name": values["name"],
        "snapshot_api_version": API_VERSION if snapshot else None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": call.now(),
        "webhook_endpoint": {"url": values["webhook_endpoint"]["url"]},
        "_secret": ids.new_id("whsec", 32),
    }
    call.store.insert(_TYPE, destination)
    return _shown(call, destination, values.get("include", []))


def _shown(call: Call, destination: Object, include: list[str]) -> Object:
    """Return the wire form, which tells address and secret only when it is asked to."""
    endpoint = {
        "signing_secret": destination["_secret"] if _SIGNING in include else None,
        "url": destination["webhook_endpoint"]["url"] if _URL in include else None,
    }
    return public(call, destination) | {
        "created": iso(destination["created"]),
        "updated": iso(destination["updated"]),
        "webhook_endpoint": endpoint if include else None,
    }


def retrieve(call: Call, values: Values, destination_id: str) -> Object:
    """`GET /v2/core/event_destinations/{id}`."""
    return _shown(call, fetch(call, _TYPE, destination_id), values.get("include", []))


def disable(call: Call, _: Values, destination_id: str) -> Object:
    """`POST /v2/core/event_destinations/{id}/disable`."""
    return _switch(call, destination_id, {"status": "disabled", "status_details": {"disabled": {"reason": "user"}}})


def enable(call: Call, _: Values, destination_id: str) -> Object:
    """`POST /v2/core/event_destinations/{id}/enable`."""
    return _switch(call, destination_id, {"status": "enabled", "status_details": None})


def _switch(call: Call, destination_id: str, members: Object) -> Object:
    destination = fetch(call, _TYPE, destination_id)
    return _shown(call, call.store.save(destination | members | {"updated": call.now()}), [])


def delete(call: Call, _: Values, destination_id: str) -> Object:
    """`DELETE /v2/core/event_destinations/{id}`; what was still to be sent there is dropped."""
    destination = fetch(call, _TYPE, destination_id)
    call.store.delete(destination_id)
    destinations.drop_pending(call, destination_id)
    return {"id": destination_id, "object": destination["object"]}


register(Resource(_TYPE, "event destination"))
_ALL = "/v2/core/event_destinations"
ENDPOINTS = (
    Endpoint("POST", _ALL, CREATE, create, _TYPE),
    Endpoint("GET", _ALL + "/{id}", RETRIEVE, retrieve, _TYPE),
    Endpoint("POST", _ALL + "/{id}/disable", {}, disable, _TYPE),
    Endpoint("POST", _ALL + "/{id}/enable", {}, enable, _TYPE),
    Endpoint("DELETE", _ALL + "/{id}", {}, delete, _TYPE),
)
