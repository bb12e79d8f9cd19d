"""By whose clock something is done: a customer on a test clock lives by that, everybody else by the sandbox's own."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from portal.sandbox.call import Call
from portal.sandbox.clock import StoppedClock
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.store import Object

Handler = Callable[[Call, Values, str], Object]


def call_for(call: Call, owner: Object | None) -> Call:
    """Return the call by the clock of a customer, or of what belongs to one; refused while that clock is moving."""
    clock_id = (owner or {}).get("test_clock")
    if clock_id is None or call.test_clock == clock_id:
        return call
    clock = call.store.get("test_helpers.test_clock", clock_id)
    if clock is None or clock.get("deleted"):
        return call
    if clock["status"] == "advancing":
        raise invalid(f"The test clock {clock_id} is advancing; wait until its status is ready.")
    return on_clock(call, clock_id, clock["frozen_time"])


def as_it_stands(call: Call, owner: Object) -> Call:
    """Return the call by the clock of what belongs to a customer, to show it: wherever that clock stands, moving or not."""
    clock_id = owner["test_clock"]
    clock = None if clock_id in (None, call.test_clock) else call.store.get("test_helpers.test_clock", clock_id)
    return on_clock(call, clock_id, clock["frozen_time"]) if clock else call


def on_clock(call: Call, clock_id: str, at: int) -> Call:
    """Return the call by a test clock that stands at an instant."""
    return replace(call, clock=StoppedClock(call.store, at), test_clock=clock_id)


def by_clock_of(type_name: str) -> Callable[[Handler], Handler]:
    """Let a handler work by the clock of the object of this type that its address names."""

    def decorate(handle: Handler) -> Handler:
        @wraps(handle)
        def timed(call: Call, values: Values, object_id: str) -> Object:
            return handle(call_for(call, call.store.get(type_name, object_id)), values, object_id)

        return timed

    return decorate


def by_clock_of_customer(handle: Callable[[Call, Values], Object]) -> Callable[[Call, Values], Object]:
    """Let a handler work by the clock of the customer that its parameters name, themselves or by a subscription."""

    @wraps(handle)
    def timed(call: Call, values: Values) -> Object:
        owners = (("subscription", "subscription"), ("subscription_schedule", "schedule"), ("customer", "customer"))
        found = (call.store.get(kind, values.get(name, "")) for kind, name in owners)
        return handle(call_for(call, next((one for one in found if one), None)), values)

    return timed
