"""Meter events: so much was used by a customer at a time. And their adjustments, which take one back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.sandbox import ids, metering
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import Choice, Hash, Param, Text, Timestamp
from portal.sandbox.registry import Resource, public, register, render
from portal.sandbox.resources import billing_meters
from portal.sandbox.store import Object, equals

PAST_SECONDS_MAX = 35 * 86400
AHEAD_SECONDS_MAX = 300
# For so long an identifier is not taken twice, and an event can be taken back.
WINDOW_SECONDS = 86400
PAYLOAD_KEYS_MAX = 50


@dataclass(frozen=True, kw_only=True)
class Payload(Param):
    """What an event says: texts under keys that the meter chooses."""

    def convert(self, value: Any, name: str) -> dict[str, str]:
        """Check that it is a flat hash of texts."""
        if not isinstance(value, dict) or len(value) > PAYLOAD_KEYS_MAX:
            raise invalid(f"Invalid object: '{name}' must be a hash of {PAYLOAD_KEYS_MAX} texts at most.", name)
        return {key: Text(max_length=500).read(text, f"{name}[{key}]") for key, text in value.items()}


CREATE: Mapping[str, Param] = {
    "event_name": Text(required=True, max_length=100),
    "identifier": Text(max_length=100),
    "payload": Payload(required=True),
    "timestamp": Timestamp(),
}
ADJUST: Mapping[str, Param] = {
    "cancel": Hash(fields={"identifier": Text(max_length=100)}),
    "event_name": Text(required=True, max_length=100),
    "type": Choice(options=("cancel",), required=True),
}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/billing/meter_events`."""
    meter = billing_meters.active(call, values["event_name"])
    if meter is None:
        raise _no_meter(call, values["event_name"])
    customer = _customer(call, meter, values["payload"])
    call = call_for(call, customer)
    timestamp = values.get("timestamp", call.now())
    _check_time(call, timestamp)
    _check_value(meter, values["payload"])
    identifier = values.get("identifier") or ids.new_id("mev", 32)
    if _recent(call, identifier) is not None:
        raise invalid(
            f"An event with the identifier '{identifier}' has been taken already.",
            "identifier",
            "duplicate_meter_event",
        )
    event = {
        # Stripe's events have no id of their own, only the caller's.
        "id": ids.new_id("mtrevt"),
        "object": metering.EVENT,
        "created": call.now(),
        "event_name": values["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": values["payload"],
        "timestamp": timestamp,
        "_usage_of": metering.usage_of(meter, customer["id"]),
    }
    return render(call, call.store.insert(metering.EVENT, event))


def _no_meter(call: Call, event_name: str) -> Exception:
    if call.store.find(billing_meters.TYPE, [equals("event_name", event_name)], limit=1):
        return invalid(f"The meter for events of the name '{event_name}' is inactive.", "event_name", "archived_meter")
    return invalid(f"No meter counts events of the name '{event_name}'.", "event_name", "no_meter")


def _check_time(call: Call, timestamp: int) -> None:
    if timestamp < call.now() - PAST_SECONDS_MAX:
        raise invalid("The time lies more than 35 days in the past.", "timestamp", "timestamp_too_far_in_past")
    if timestamp > call.now() + AHEAD_SECONDS_MAX:
        raise invalid("The time lies more than 5 minutes in the future.", "timestamp", "timestamp_in_future")


def _customer(call: Call, meter: Object, payload: dict[str, str]) -> Object:
    key = meter["customer_mapping"]["event_payload_key"]
    if key not in payload:
        raise invalid(f"The payload has no {key}.", f"payload[{key}]", "meter_event_no_customer_defined")
    customer = call.store.get("customer", payload[key])
    if customer is None or customer.get("deleted"):
        raise invalid(f"No such customer: '{payload[key]}'", f"payload[{key}]", "meter_event_customer_not_found")
    return customer


def _check_value(meter: Object, payload: dict[str, str]) -> None:
    key = meter["value_settings"]["event_payload_key"]
    if key in payload:
        metering.read_value(payload[key], key)
    elif meter["default_aggregation"]["formula"] != "count":
        raise invalid(f"The payload has no {key}.", f"payload[{key}]", "meter_event_value_not_found")


def _recent(call: Call, identifier: str) -> Object | None:
    """Return the event that has an identifier for now, by the clock of its own customer."""
    found = call.store.find(metering.EVENT, [equals("identifier", identifier)], limit=1)
    if not found:
        return None
    owner = call.store.get("customer", found[0]["_usage_of"].partition(":")[2])
    return found[0] if found[0]["created"] > call_for(call, owner).now() - WINDOW_SECONDS else None


def adjust(call: Call, values: Values) -> Object:
    """`POST /v1/billing/meter_event_adjustments`: an event of the last 24 hours no longer counts."""
    identifier = values.get("cancel", {}).get("identifier")
    if identifier is None:
        raise missing_parameter("cancel[identifier]")
    event = _recent(call, identifier)
    if event is None or event["event_name"] != values["event_name"]:
        raise invalid(
            f"No event of this name with the identifier '{identifier}' was taken in the last 24 hours.",
            "cancel[identifier]",
            "resource_missing",
        )
    if event.get("_canceled"):
        raise invalid("The event has been canceled already.", "cancel[identifier]")
    call.store.save(event | {"_canceled": True})
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": values["event_name"],
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }


def _render(call: Call, event: Object) -> Object:
    return {name: value for name, value in public(call, event).items() if name != "id"}


register(Resource(metering.EVENT, "meter event", render=_render))
ENDPOINTS = (
    Endpoint("POST", "/v1/billing/meter_events", CREATE, create, metering.EVENT),
    Endpoint("POST", "/v1/billing/meter_event_adjustments", ADJUST, adjust, "billing.meter_event_adjustment"),
)
