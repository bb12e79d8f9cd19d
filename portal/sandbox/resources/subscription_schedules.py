"""Subscription schedules: phases that a subscription goes through by itself. Pause schedules are not emulated."""

from copy import deepcopy

from portal.sandbox import agenda, collecting, events, ids, schedule_phases, scheduling, standing
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, by_clock_of_customer, call_for
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import (
    CREATED_PAGING,
    Boolean,
    Choice,
    Hash,
    Metadata,
    Text,
    TimestampOr,
    merge_metadata,
)
from portal.sandbox.registry import Reference, Resource, fetch, public, register, render
from portal.sandbox.resources import payment_methods, prices, subscription_items, subscriptions
from portal.sandbox.resources.subscription_cancellation import end_now
from portal.sandbox.store import Condition, Object, equals

TYPE = "subscription_schedule"
_SETTINGS = Hash(fields={"default_payment_method": Text(), "description": Text(unsettable=True)})
_END = Choice(options=("cancel", "release"))
CREATE = {
    "customer": Text(),
    "default_settings": _SETTINGS,
    "end_behavior": _END,
    "from_subscription": Text(),
    "metadata": Metadata(),
    "phases": schedule_phases.NEW,
    "start_date": TimestampOr(options=("now",)),
}
UPDATE = {
    "default_settings": _SETTINGS,
    "end_behavior": _END,
    "metadata": Metadata(),
    "phases": schedule_phases.CHANGED,
    "proration_behavior": schedule_phases.BEHAVIOR,
}
CANCEL = {"invoice_now": Boolean(), "prorate": Boolean()}
RELEASE = {"preserve_cancel_date": Boolean()}
LIST = CREATED_PAGING | {"customer": Text(), "scheduled": Boolean()}


def _build(call: Call, customer_id: str, phases: list[Object], values: Values) -> Object:
    schedule: Object = {
        "id": ids.new_id("sub_sched"),
        "object": TYPE,
        "application": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": call.now(),
        },
        "canceled_at": None,
        "completed_at": None,
        "created": call.now(),
        "current_phase": None,
        "customer": customer_id,
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": values.get("end_behavior", "release"),
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "pause_schedules": [],
        "phases": phases,
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": call.test_clock,
    }
    return schedule


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """`POST /v1/subscription_schedules`: from a subscription that there is, or for one that is to begin."""
    if "from_subscription" in values:
        if set(values) - {"from_subscription", "metadata"}:
            odd = min(set(values) - {"from_subscription", "metadata"})
            raise invalid("A schedule made from a subscription takes its phases from that; update it then.", odd)
        subscription = fetch(call, "subscription", values["from_subscription"], "from_subscription")
        return render(call, _from_subscription(call_for(call, subscription), subscription, values))
    if "customer" not in values or "start_date" not in values:
        missing = "start_date" if "customer" in values else "customer"
        raise invalid(f"Missing required param: {missing}.", missing, "parameter_missing")
    customer = fetch(call, "customer", values["customer"], "customer")
    start = call.now() if values["start_date"] == "now" else values["start_date"]
    if start < call.now():
        raise invalid("A schedule cannot start in the past.", "start_date")
    schedule = _build(call, customer["id"], [], values)
    schedule["phases"] = schedule_phases.read(call, schedule, values.get("phases", []), start)
    _set_defaults(call, schedule, values)
    call.store.insert(TYPE, schedule)
    events.emit(call, f"{TYPE}.created", schedule)
    return render(call, scheduling.start(call, schedule) if start == call.now() else schedule)


def _set_defaults(call: Call, schedule: Object, values: Values) -> None:
    settings = values.get("default_settings", {})
    chosen = settings.get("default_payment_method")
    if chosen is not None:
        param = "default_settings[default_payment_method]"
        payment_methods.require_of_customer(call, chosen, schedule["customer"], param)
    schedule["default_settings"] |= settings


def _from_subscription(call: Call, subscription: Object, values: Values) -> Object:
    if subscription["status"] in (*subscriptions.ENDED, "incomplete"):
        raise invalid(f"A subscription that is {subscription['status']} cannot follow a schedule.", "from_subscription")
    if subscription["schedule"] is not None:
        raise invalid(f"The subscription follows the schedule {subscription['schedule']} already.", "from_subscription")
    found = subscription_items.of_subscription(call, subscription["id"])
    start = max(item["current_period_start"] for item in found)
    end = subscription["cancel_at"] or min(item["current_period_end"] for item in found)
    phase = schedule_phases.build(
        schedule_phases.items_of(call, subscription), subscription["currency"], start, end
    ) | {
        "discounts": [
            {"coupon": None, "discount": discount_id, "promotion_code": None}
            for discount_id in subscription["discounts"]
        ],
        "trial_end": subscription["trial_end"] if subscription["status"] == "trialing" else None,
    }
    ends = {"end_behavior": "cancel" if subscription["cancel_at"] else "release"}
    schedule = _build(call, subscription["customer"], [phase], values | ends)
    schedule |= {
        "current_phase": schedule_phases.window(phase),
        "status": "active",
        "subscription": subscription["id"],
    }
    call.store.insert(TYPE, schedule)
    events.emit(call, f"{TYPE}.created", schedule)
    scheduling.attach(call, schedule, subscription)
    return schedule


def retrieve(call: Call, _: Values, schedule_id: str) -> Object:
    """`GET /v1/subscription_schedules/{schedule}`."""
    return render(call, fetch(call, TYPE, schedule_id))


def _require_open(schedule: Object, verb: str) -> None:
    if schedule["status"] not in ("active", "not_started"):
        raise invalid(f"The schedule cannot be {verb}, because its status is {schedule['status']}.")


@by_clock_of(TYPE)
def update(call: Call, values: Values, schedule_id: str) -> Object:
    """`POST /v1/subscription_schedules/{schedule}`: other phases from now on, the current one included."""
    schedule = fetch(call, TYPE, schedule_id)
    _require_open(schedule, "updated")
    subscription = fetch(call, "subscription", schedule["subscription"]) if schedule["subscription"] else None
    was = render(call, deepcopy(subscription)) if subscription else {}
    invoice = change(call, schedule, subscription, values)
    if subscription is not None:
        call.store.save(subscription)
        events.emit_update(call, "customer.subscription.updated", was, subscription)
    if subscription is not None and invoice is not None:
        collecting.finalize(call, invoice, description="Subscription update")
        if standing.collect(call, invoice, standing.card_of(call, subscription)) is None:
            standing.after_payment(call, invoice)
        else:
            standing.after_refusal(call, invoice)
    return render(call, fetch(call, TYPE, schedule_id))


def change(call: Call, schedule: Object, subscription: Object | None, values: Values) -> Object | None:
    """Change a schedule; returns the draft of what its current phase costs more at once. The caller saves the
    subscription.
    """
    before = render(call, deepcopy(schedule))
    if "metadata" in values:
        schedule["metadata"] = merge_metadata(schedule["metadata"], values["metadata"])
    schedule["end_behavior"] = values.get("end_behavior", schedule["end_behavior"])
    _set_defaults(call, schedule, values)
    if "phases" in values:
        schedule["phases"] = _phases(call, schedule, values["phases"])
    phase = schedule_phases.at(schedule, call.now())
    if schedule["status"] == "active":
        if phase is None:
            raise invalid("One of the phases must hold this moment.", "phases")
        schedule["current_phase"] = schedule_phases.window(phase)
    call.store.save(schedule)
    agenda.lift(call, schedule["id"])
    events.emit_update(call, f"{TYPE}.updated", before, schedule)
    if subscription is None:
        return None
    scheduling.set_end(schedule, subscription)
    if phase is None or "phases" not in values:
        return None
    return scheduling.apply_phase(call, subscription, phase, values.get("proration_behavior", "create_prorations"))


def _phases(call: Call, schedule: Object, sent: list[Values]) -> list[Object]:
    """Return the schedule's phases with those that were sent in place of the current and the future ones."""
    starts = [values.pop("start_date", None) for values in sent]
    first = starts[0] if starts else None
    if schedule["status"] == "not_started":
        start = schedule["phases"][0]["start_date"] if first is None else first
        return _read(call, schedule, sent, call.now() if start == "now" else start, starts)
    current = schedule["current_phase"]
    past = [phase for phase in schedule["phases"] if phase["end_date"] <= current["start_date"]]
    if first == "now":
        running = next(phase for phase in schedule["phases"] if phase["start_date"] == current["start_date"])
        return [*past, running | {"end_date": call.now()}, *_read(call, schedule, sent, call.now(), starts)]
    if first != current["start_date"]:
        raise invalid("The first phase must start when the current one does, or now.", "phases[0][start_date]")
    return past + _read(call, schedule, sent, first, starts)


def _read(call: Call, schedule: Object, sent: list[Values], start: int, starts: list[int | str | None]) -> list[Object]:
    phases = schedule_phases.read(call, schedule, sent, start)
    for number, (phase, named) in enumerate(zip(phases[1:], starts[1:], strict=True), start=1):
        if named not in (None, phase["start_date"]):
            raise invalid("A phase starts when the one before it ends.", f"phases[{number}][start_date]")
    return phases


@by_clock_of(TYPE)
def release(call: Call, values: Values, schedule_id: str) -> Object:
    """`POST /v1/subscription_schedules/{schedule}/release`: the subscription goes on as it is."""
    schedule = fetch(call, TYPE, schedule_id)
    _require_open(schedule, "released")
    subscription = fetch(call, "subscription", schedule["subscription"]) if schedule["subscription"] else None
    before = render(call, deepcopy(subscription)) if subscription else {}
    scheduling.release(call, schedule, subscription, keep_end=values.get("preserve_cancel_date", False))
    if subscription is not None:
        call.store.save(subscription)
        events.emit_update(call, "customer.subscription.updated", before, subscription)
    return render(call, schedule)


@by_clock_of(TYPE)
def cancel(call: Call, values: Values, schedule_id: str) -> Object:
    """`POST /v1/subscription_schedules/{schedule}/cancel`: its subscription ends now, and the rest is settled."""
    schedule = fetch(call, TYPE, schedule_id)
    _require_open(schedule, "canceled")
    if schedule["subscription"] is not None:
        subscription = fetch(call, "subscription", schedule["subscription"])
        settled = {"prorates": values.get("prorate", True), "at_once": values.get("invoice_now", True)}
        end_now(call, subscription, {"reason": "cancellation_requested"}, **settled)
        return render(call, fetch(call, TYPE, schedule_id))
    schedule_phases.call_off(call, schedule)
    return render(call, schedule)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/subscription_schedules`."""
    filters = member_equals(values, "customer")
    if "scheduled" in values:
        waits = equals("status", "not_started")
        filters.append(waits if values["scheduled"] else Condition(f"NOT {waits.sql}", waits.values))
    return page(call, TYPE, values, "/v1/subscription_schedules", filters)


def _render(call: Call, schedule: Object) -> Object:
    phases = [phase | {"items": [_item(call, item) for item in phase["items"]]} for phase in schedule["phases"]]
    return public(call, schedule) | {"phases": phases}


def _item(call: Call, item: Object) -> Object:
    """Return an item of a phase; of usage nobody orders a number."""
    metered = prices.is_metered(fetch(call, "price", item["price"]))
    return {name: value for name, value in item.items() if name != "quantity"} if metered else item


register(
    Resource(
        TYPE,
        TYPE,
        {
            "customer": Reference("customer"),
            "subscription": Reference("subscription"),
            "test_clock": Reference("test_helpers.test_clock"),
        },
        _render,
    )
)
_ONE = "/v1/subscription_schedules/{schedule}"
ENDPOINTS = (
    Endpoint("POST", "/v1/subscription_schedules", CREATE, create, TYPE),
    Endpoint("GET", "/v1/subscription_schedules", LIST, index, TYPE, lists=True),
    Endpoint("GET", _ONE, {}, retrieve, TYPE),
    Endpoint("POST", _ONE, UPDATE, update, TYPE),
    Endpoint("POST", _ONE + "/release", RELEASE, release, TYPE),
    Endpoint("POST", _ONE + "/cancel", CANCEL, cancel, TYPE),
)
