"""Webhook endpoints: where events are delivered."""

from portal.sandbox import destinations, ids
from portal.sandbox.call import API_VERSION, Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid
from portal.sandbox.older_versions import OLDER_VERSIONS
from portal.sandbox.parameters import PAGING, Array, Boolean, Choice, Metadata, Text, Url, merge_metadata
from portal.sandbox.registry import Resource, deleted_form, fetch, register, render
from portal.sandbox.store import Object

_EVENTS = Array(item=Text(pattern=r"\*|[a-z0-9_]+(\.[a-z0-9_]+)+"), max_items=400)
_REQUIRED_EVENTS = Array(item=_EVENTS.item, max_items=400, required=True)
CREATE = {
    "api_version": Choice(options=(API_VERSION, *OLDER_VERSIONS)),
    "description": Text(unsettable=True),
    "enabled_events": _REQUIRED_EVENTS,
    "metadata": Metadata(),
    "url": Url(required=True),
}
UPDATE = {
    "description": Text(unsettable=True),
    "disabled": Boolean(),
    "enabled_events": _EVENTS,
    "metadata": Metadata(),
    "url": Url(),
}


def build(call: Call, values: Values, secret: str) -> Object:
    """Return a new endpoint that is not stored yet; `secret` signs what is sent to it."""
    return {
        "id": ids.new_id("we"),
        "object": "webhook_endpoint",
        "api_version": values.get("api_version"),
        "application": None,
        "created": call.now(),
        "description": values.get("description"),
        "enabled_events": values["enabled_events"],
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "status": "enabled",
        "url": values["url"],
        "_secret": secret,
        "_registered_at_start": False,
    }


def register_at_start(call: Call, url: str, secret: str) -> None:
    """Make the endpoint that the starting command names, or point the one of the last start there."""
    for endpoint in call.store.find("webhook_endpoint"):
        if endpoint["_registered_at_start"]:
            call.store.save(endpoint | {"url": url, "_secret": secret, "status": "enabled"})
            return
    endpoint = build(call, {"url": url, "enabled_events": ["*"]}, secret)
    call.store.insert("webhook_endpoint", endpoint | {"_registered_at_start": True})


def create(call: Call, values: Values) -> Object:
    """`POST /v1/webhook_endpoints`; this answer alone holds the secret."""
    if not values["enabled_events"]:
        raise invalid("Name at least one event, or *.", "enabled_events")
    secret = ids.new_id("whsec", 32)
    endpoint = call.store.insert("webhook_endpoint", build(call, values, secret))
    return render(call, endpoint) | {"secret": secret}


def retrieve(call: Call, _: Values, endpoint_id: str) -> Object:
    """`GET /v1/webhook_endpoints/{webhook_endpoint}`."""
    return render(call, fetch(call, "webhook_endpoint", endpoint_id))


def update(call: Call, values: Values, endpoint_id: str) -> Object:
    """`POST /v1/webhook_endpoints/{webhook_endpoint}`."""
    endpoint = fetch(call, "webhook_endpoint", endpoint_id)
    for name in ("description", "enabled_events", "url"):
        if name in values:
            endpoint[name] = values[name]
    if "disabled" in values:
        endpoint["status"] = "disabled" if values["disabled"] else "enabled"
    if "metadata" in values:
        endpoint["metadata"] = merge_metadata(endpoint["metadata"], values["metadata"])
    return render(call, call.store.save(endpoint))


def delete(call: Call, _: Values, endpoint_id: str) -> Object:
    """`DELETE /v1/webhook_endpoints/{webhook_endpoint}`; what was still to be sent there is dropped."""
    endpoint = fetch(call, "webhook_endpoint", endpoint_id)
    call.store.delete(endpoint_id)
    destinations.drop_pending(call, endpoint_id)
    return deleted_form(endpoint)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/webhook_endpoints`."""
    return page(call, "webhook_endpoint", values, "/v1/webhook_endpoints")


register(Resource("webhook_endpoint", "webhook endpoint"))
_ONE = "/v1/webhook_endpoints/{webhook_endpoint}"
ENDPOINTS = (
    Endpoint("POST", "/v1/webhook_endpoints", CREATE, create, "webhook_endpoint"),
    Endpoint("GET", "/v1/webhook_endpoints", PAGING, index, "webhook_endpoint", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "webhook_endpoint"),
    Endpoint("POST", _ONE, UPDATE, update, "webhook_endpoint"),
    Endpoint("DELETE", _ONE, {}, delete, "webhook_endpoint"),
)
