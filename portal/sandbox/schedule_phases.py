"""The phases of a subscription schedule: what each asks for, which is current, and how a subscription gets there."""

from copy import deepcopy
from typing import Any

from portal.sandbox import currencies, discounting, events
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.item_changes import ITEMS_MAX, QUANTITY, price_of, quantity_of
from portal.sandbox.parameters import (
    Array,
    Choice,
    Hash,
    Integer,
    Metadata,
    Param,
    Text,
    Timestamp,
    TimestampOr,
    merge_metadata,
)
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import payment_methods, prices, subscription_items
from portal.sandbox.store import Object, equals

PHASES_MAX = 10
BEHAVIOR = Choice(options=("always_invoice", "create_prorations", "none"))
_FIELDS: dict[str, Param] = {
    "billing_cycle_anchor": Choice(options=("automatic", "phase_start")),
    "default_payment_method": Text(),
    "description": Text(unsettable=True, max_length=500),
    "discounts": discounting.DISCOUNTS,
    "duration": Hash(
        fields={
            "interval": Choice(options=("day", "month", "week", "year"), required=True),
            "interval_count": Integer(minimum=1, maximum=1095),
        }
    ),
    "iterations": Integer(minimum=1, maximum=1095),
    "items": Array(
        required=True,
        max_items=ITEMS_MAX,
        item=Hash(fields={"metadata": Metadata(unsettable=False), "price": Text(required=True), "quantity": QUANTITY}),
    ),
    "metadata": Metadata(unsettable=False),
    "proration_behavior": BEHAVIOR,
}
NEW = Array(max_items=PHASES_MAX, item=Hash(fields=_FIELDS | {"end_date": Timestamp()}))
CHANGED = Array(
    max_items=PHASES_MAX,
    item=Hash(
        fields=_FIELDS | {"end_date": TimestampOr(options=("now",)), "start_date": TimestampOr(options=("now",))}
    ),
)


def read(call: Call, schedule: Object, sent: list[Values], start: int) -> list[Object]:
    """Return the phases that the parameters ask for, one after the other from `start` on, or raise what is wrong.

    What the schedule's phases have already they may keep, even if nobody could ask for it any more.
    """
    if not sent:
        raise invalid("A schedule needs at least one phase.", "phases", "parameter_missing")
    phases = []
    for number, values in enumerate(sent):
        phase = _phase(call, schedule, values, start, f"phases[{number}]")
        phases.append(phase)
        start = phase["end_date"]
    if len({phase["currency"] for phase in phases}) > 1:
        raise invalid("All phases of a schedule must have the same currency.", "phases")
    currencies.require(call, schedule["customer"], phases[0]["currency"], "phases", apart_from=schedule["id"])
    return phases


def _phase(call: Call, schedule: Object, values: Values, start: int, param: str) -> Object:
    known = {item["price"] for phase in schedule["phases"] for item in phase["items"]}
    sold = [
        price_of(call, one["price"], f"{param}[items][{number}][price]", archived_too=one["price"] in known)
        for number, one in enumerate(values["items"])
    ]
    if len({price["id"] for price in sold}) < len(sold):
        raise invalid("A phase cannot have two items with the same price; raise the quantity.", f"{param}[items]")
    end = _end(call, values, start, sold, param)
    if end <= start:
        raise invalid("A phase must end after it starts.", f"{param}[end_date]")
    items = [
        item_of(
            one["price"],
            quantity_of(price, one, f"{param}[items][{number}]"),
            merge_metadata({}, one.get("metadata", {})),
        )
        for number, (one, price) in enumerate(zip(values["items"], sold, strict=True))
    ]
    if values.get("default_payment_method") is not None:
        card = values["default_payment_method"]
        payment_methods.require_of_customer(call, card, schedule["customer"], f"{param}[default_payment_method]")
    cost = sum(prices.cost(price, item["quantity"]) for price, item in zip(sold, items, strict=True))
    purchase = discounting.Purchase(schedule["customer"], sold[0]["currency"], cost)
    then = call.dated(max(start, call.now()))
    for number, one in enumerate(values.get("discounts") or []):
        _check_discount(then, schedule, one, purchase, f"{param}[discounts][{number}]")
    return build(items, sold[0]["currency"], start, end) | {
        "billing_cycle_anchor": values.get("billing_cycle_anchor"),
        "default_payment_method": values.get("default_payment_method"),
        "description": values.get("description"),
        "discounts": [
            {"coupon": None, "discount": None, "promotion_code": None} | one for one in values.get("discounts") or []
        ],
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "proration_behavior": values.get("proration_behavior", "create_prorations"),
    }


def _check_discount(
    call: Call, schedule: Object, sent: dict[str, str], purchase: discounting.Purchase, param: str
) -> None:
    """Raise 400 unless a discount can be given when its phase begins, as far as that can be known."""
    name, chosen = discounting.named_in(sent, param)
    if any(chosen == one[name] for phase in schedule["phases"] for one in phase["discounts"]):
        return
    if name != "discount":
        discounting.usable(call, name, chosen, purchase, f"{param}[{name}]")
        return
    discount = fetch(call, "discount", chosen, f"{param}[discount]")
    if schedule["subscription"] is None or discount["subscription"] != schedule["subscription"]:
        raise invalid("The subscription has no such discount.", f"{param}[discount]")


def _end(call: Call, values: Values, start: int, sold: list[Object], param: str) -> int:
    if len({"end_date", "duration", "iterations"} & set(values)) > 1:
        raise invalid("Send end_date or duration, not both.", f"{param}[duration]")
    if "end_date" in values:
        return call.now() if values["end_date"] == "now" else int(values["end_date"])
    if not sold:
        raise invalid("A phase needs at least one item.", f"{param}[items]", "parameter_missing")
    lasts: Values = values.get("duration") or sold[0]["recurring"]
    # Older versions count the price's intervals.
    return add_interval(start, lasts["interval"], lasts.get("interval_count", 1) * values.get("iterations", 1))


def item_of(price_id: str, quantity: int, metadata: dict[str, str]) -> Object:
    """Return one item of a phase."""
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": metadata,
        "plan": price_id,
        "price": price_id,
        "quantity": quantity,
        "tax_rates": [],
    }


def build(items: list[Object], currency: str, start: int, end: int) -> Object:
    """Return a phase that asks for nothing but its items."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": items,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def items_of(call: Call, subscription: Object) -> list[Object]:
    """Return a subscription's items as a phase has them."""
    found = subscription_items.of_subscription(call, subscription["id"])
    return [item_of(one["price"], one["quantity"], one["metadata"]) for one in found]


def at(schedule: Object, instant: int) -> Object | None:
    """Return the phase that holds an instant, or None when no phase does."""
    holding = [phase for phase in schedule["phases"] if phase["start_date"] <= instant < phase["end_date"]]
    return holding[0] if holding else None


def window(phase: Object | None) -> Object | None:
    """Return start and end of a phase, as a schedule names its current one."""
    return {"end_date": phase["end_date"], "start_date": phase["start_date"]} if phase else None


def change_to(call: Call, subscription: Object, phase: Object) -> list[Values]:
    """Return the `items` parameters that make a subscription have what a phase asks for; empty when it has that."""
    old = subscription_items.of_subscription(call, subscription["id"])
    wanted = {item["price"]: item for item in phase["items"]}
    sent = []
    for item in old:
        if item["price"] in wanted:
            quantity = wanted.pop(item["price"])["quantity"]
            if quantity != item["quantity"]:
                sent.append({"id": item["id"], "quantity": quantity})
    kept = {item["price"] for item in phase["items"]}
    for item in old:
        if item["price"] in kept:
            continue
        change: dict[str, Any] = {"id": item["id"]}
        metered = _is_metered(call, item["price"])
        price = next((one for one in wanted if _is_metered(call, one) == metered), None)
        if price is not None:
            sent.append(change | _ordered(call, wanted.pop(price)))
        else:
            sent.append(change | {"deleted": True})
    return sent + [_ordered(call, item) for item in wanted.values()]


def _is_metered(call: Call, price_id: str) -> bool:
    return prices.is_metered(fetch(call, "price", price_id))


def _ordered(call: Call, item: Object) -> Values:
    """Return an item of a phase as a subscription is asked for it; its price may have been archived meanwhile."""
    price: Values = {"price": item["price"], "_scheduled": True}
    return price if _is_metered(call, item["price"]) else price | {"quantity": item["quantity"]}


def of_subscription(call: Call, subscription: Object) -> Object | None:
    """Return the schedule that a subscription follows, if it follows one."""
    return fetch(call, "subscription_schedule", subscription["schedule"]) if subscription["schedule"] else None


def follow_change(call: Call, subscription: Object) -> None:
    """Let the current phase of a schedule have what its subscription was given beside it."""
    schedule = of_subscription(call, subscription)
    phase = at(schedule, call.now()) if schedule else None
    if schedule is None or phase is None:
        return
    before = render(call, deepcopy(schedule))
    phase["items"] = items_of(call, subscription)
    call.store.save(schedule)
    events.emit_update(call, "subscription_schedule.updated", before, schedule)


def close(call: Call, subscription: Object) -> None:
    """End the schedule of a subscription that has ended: it is completed if that was its plan, else canceled."""
    schedule = of_subscription(call, subscription)
    if schedule is None:
        return
    done = schedule["end_behavior"] == "cancel" and call.now() >= schedule["phases"][-1]["end_date"]
    status = "completed" if done else "canceled"
    schedule |= {"current_phase": None, "status": status, f"{status}_at": call.now()}
    call.store.save(schedule)
    subscription["schedule"] = None
    call.store.save(subscription)
    events.emit(call, f"subscription_schedule.{status}", schedule)


def call_off(call: Call, schedule: Object) -> None:
    """Cancel a schedule that has not begun its subscription yet."""
    schedule |= {"canceled_at": call.now(), "status": "canceled"}
    call.store.save(schedule)
    events.emit(call, "subscription_schedule.canceled", schedule)


def call_off_all_of(call: Call, customer_id: str) -> None:
    """Cancel the schedules of a customer that have not begun their subscriptions yet."""
    waiting = [equals("customer", customer_id), equals("status", "not_started")]
    for schedule in call.store.find("subscription_schedule", waiting):
        call_off(call, schedule)
