"""Billing meters: what is counted of a customer's usage, and how it adds up."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import PAGING, Choice, Hash, Text
from portal.sandbox.registry import Resource, fetch, register, render
from portal.sandbox.store import Object, equals

TYPE = "billing.meter"
_KEY = Text(required=True, max_length=100)
CREATE = {
    "customer_mapping": Hash(fields={"event_payload_key": _KEY, "type": Choice(options=("by_id",), required=True)}),
    "default_aggregation": Hash(
        required=True, fields={"formula": Choice(options=("count", "last", "sum"), required=True)}
    ),
    "display_name": Text(required=True, max_length=250),
    "event_name": Text(required=True, max_length=100),
    "value_settings": Hash(fields={"event_payload_key": _KEY}),
}
UPDATE = {"display_name": Text(max_length=250)}
LIST = PAGING | {"status": Choice(options=("active", "inactive"))}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/billing/meters`; the name of its events is its own as long as it is active."""
    _require_free(call, values["event_name"])
    meter = {
        "id": ids.new_id("mtr_test", 30),
        "object": TYPE,
        "created": call.now(),
        "customer_mapping": values.get(
            "customer_mapping", {"event_payload_key": "stripe_customer_id", "type": "by_id"}
        ),
        "default_aggregation": values["default_aggregation"],
        "display_name": values["display_name"],
        "event_name": values["event_name"],
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": call.now(),
        "value_settings": values.get("value_settings", {"event_payload_key": "value"}),
    }
    call.store.insert(TYPE, meter)
    events.emit(call, "billing.meter.created", meter)
    return render(call, meter)


def _require_free(call: Call, event_name: str) -> None:
    holder = active(call, event_name)
    if holder is not None:
        raise invalid(f"The active meter {holder['id']} counts events of this name already.", "event_name")


def active(call: Call, event_name: str) -> Object | None:
    """Return the active meter for events of this name."""
    found = call.store.find(TYPE, [equals("event_name", event_name), equals("status", "active")], limit=1)
    return found[0] if found else None


def retrieve(call: Call, _: Values, meter_id: str) -> Object:
    """`GET /v1/billing/meters/{id}`."""
    return render(call, fetch(call, TYPE, meter_id))


def update(call: Call, values: Values, meter_id: str) -> Object:
    """`POST /v1/billing/meters/{id}`: its name only; what it counts never changes."""
    return _change(call, fetch(call, TYPE, meter_id), values, "billing.meter.updated")


def deactivate(call: Call, _: Values, meter_id: str) -> Object:
    """`POST /v1/billing/meters/{id}/deactivate`: its events are refused from now on."""
    meter = fetch(call, TYPE, meter_id)
    if meter["status"] != "active":
        raise invalid("The meter is inactive already.")
    changes = {"status": "inactive", "status_transitions": {"deactivated_at": call.now()}}
    return _change(call, meter, changes, "billing.meter.deactivated")


def reactivate(call: Call, _: Values, meter_id: str) -> Object:
    """`POST /v1/billing/meters/{id}/reactivate`."""
    meter = fetch(call, TYPE, meter_id)
    if meter["status"] == "active":
        raise invalid("The meter is active already.")
    _require_free(call, meter["event_name"])
    changes = {"status": "active", "status_transitions": {"deactivated_at": None}}
    return _change(call, meter, changes, "billing.meter.reactivated")


def _change(call: Call, meter: Object, changes: Values, event_type: str) -> Object:
    before = render(call, deepcopy(meter))
    meter |= changes
    if render(call, meter) != before:
        meter["updated"] = call.now()
    call.store.save(meter)
    events.emit_update(call, event_type, before, meter)
    return render(call, meter)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/billing/meters`."""
    return page(call, TYPE, values, "/v1/billing/meters", member_equals(values, "status"))


register(Resource(TYPE, "meter"))
_ONE = "/v1/billing/meters/{id}"
ENDPOINTS = (
    Endpoint("POST", "/v1/billing/meters", CREATE, create, TYPE),
    Endpoint("GET", "/v1/billing/meters", LIST, index, TYPE, lists=True),
    Endpoint("GET", _ONE, {}, retrieve, TYPE),
    Endpoint("POST", _ONE, UPDATE, update, TYPE),
    Endpoint("POST", _ONE + "/deactivate", {}, deactivate, TYPE),
    Endpoint("POST", _ONE + "/reactivate", {}, reactivate, TYPE),
)
