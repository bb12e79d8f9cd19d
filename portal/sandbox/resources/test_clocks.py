"""Test clocks: each stands still until it is advanced, and its customers live by it."""

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.customer_time import on_clock
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import PAGING, Text, Timestamp
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import Resource, deleted_form, fetch, register, render
from portal.sandbox.resources import customers, subscription_items, subscriptions
from portal.sandbox.store import Condition, Object, equals

TYPE = "test_helpers.test_clock"
# The year 3000: a clock must not get where the next period cannot be written any more.
_INSTANT = Timestamp(required=True, maximum=32_503_680_000)
CREATE = {"frozen_time": _INSTANT, "name": Text(max_length=300)}
ADVANCE = {"frozen_time": _INSTANT}
KEPT_SECONDS = 30 * 86400
# How far a clock goes in one step: so many periods of the shortest plan on it, or so many years without one.
PERIODS_MAX = 2
_PRESENT = Condition("json_extract(body, '$.deleted') IS NULL")


def create(call: Call, values: Values) -> Object:
    """`POST /v1/test_helpers/test_clocks`."""
    clock = {
        "id": ids.new_id("clock"),
        "object": TYPE,
        "created": call.now(),
        "deletes_after": call.now() + KEPT_SECONDS,
        "frozen_time": values["frozen_time"],
        "livemode": False,
        "name": values.get("name"),
        "status": "ready",
        "status_details": {},
    }
    call.store.insert(TYPE, clock)
    events.emit(call, f"{TYPE}.created", clock)
    return render(call, clock)


def retrieve(call: Call, _: Values, clock_id: str) -> Object:
    """`GET /v1/test_helpers/test_clocks/{test_clock}`."""
    return render(call, fetch(call, TYPE, clock_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/test_helpers/test_clocks`."""
    return page(call, TYPE, values, "/v1/test_helpers/test_clocks", [_PRESENT])


def present(call: Call) -> list[Object]:
    """Return all test clocks there are, the newest first."""
    return call.store.find(TYPE, [_PRESENT])


def advance(call: Call, values: Values, clock_id: str) -> Object:
    """`POST /v1/test_helpers/test_clocks/{test_clock}/advance`: it is moving from now on, and there a little later."""
    clock = fetch(call, TYPE, clock_id)
    target = values["frozen_time"]
    if clock["status"] != "ready":
        raise invalid(f"The test clock is {clock['status']}; wait until its status is ready.")
    if target <= clock["frozen_time"]:
        raise invalid("A test clock only moves forward.", "frozen_time")
    furthest = latest(call, clock)
    if target > furthest:
        raise invalid(
            f"A test clock moves by {PERIODS_MAX} periods of its shortest subscription at most; the latest is {furthest}.",
            "frozen_time",
        )
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": target}}}
    call.store.save(clock)
    events.emit(call, f"{TYPE}.advancing", clock)
    return render(call, clock)


def latest(call: Call, clock: Object) -> int:
    """Return the instant that a clock gets to in one step at most."""
    ends = [add_interval(clock["frozen_time"], "year", PERIODS_MAX)]
    for subscription in call.store.find("subscription", [equals("test_clock", clock["id"])]):
        if subscription["status"] in subscriptions.ENDED:
            continue
        for item in subscription_items.of_subscription(call, subscription["id"]):
            rhythm = fetch(call, "price", item["price"])["recurring"]
            count = PERIODS_MAX * rhythm["interval_count"]
            ends.append(add_interval(clock["frozen_time"], rhythm["interval"], count))
    return min(ends)


def delete(call: Call, _: Values, clock_id: str) -> Object:
    """`DELETE /v1/test_helpers/test_clocks/{test_clock}`: its customers go with it, and end what they have."""
    clock = fetch(call, TYPE, clock_id)
    call.store.save(clock | {"deleted": True})
    for customer in call.store.find("customer", [equals("test_clock", clock_id)]):
        if not customer.get("deleted"):
            customers.delete(on_clock(call, clock_id, clock["frozen_time"]), {}, customer["id"])
    events.emit(call, f"{TYPE}.deleted", clock)
    return deleted_form(clock)


register(Resource(TYPE, "test clock"))
_ALL = "/v1/test_helpers/test_clocks"
ENDPOINTS = (
    Endpoint("POST", _ALL, CREATE, create, TYPE),
    Endpoint("GET", _ALL, PAGING, index, TYPE, lists=True),
    Endpoint("GET", _ALL + "/{test_clock}", {}, retrieve, TYPE),
    Endpoint("POST", _ALL + "/{test_clock}/advance", ADVANCE, advance, TYPE),
    Endpoint("DELETE", _ALL + "/{test_clock}", {}, delete, TYPE),
)
