"""What a subscription is made of, as far as our pages change it: a plan with its interval, further seats, and add-ons.

All of it is read from Stripe's object, since a change must be asked for against what is true there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portal.billing.mirror import Json, ref
from portal.catalog.addon_queries import AddonPrice, addon_for_stripe_price
from portal.catalog.queries import PlanPrice, plan_for_stripe_price

# How many of which add-on; there is one price of each.
Addons = tuple[tuple[AddonPrice, int], ...]


@dataclass(frozen=True)
class AddonItem:
    """An add-on as one of Stripe's items; `paid_until` is in epoch seconds."""

    item_id: str
    price: AddonPrice
    quantity: int
    paid_until: int


@dataclass(frozen=True)
class Terms:
    """`plan_item` and `seat_item` are the ids of Stripe's items; `seat` is what a further seat costs now, if there is one."""

    plan: PlanPrice
    plan_item: str
    seat: PlanPrice | None
    seat_item: str | None
    seats_extra: int
    addon_items: tuple[AddonItem, ...] = ()

    @property
    def addons(self) -> Addons:
        return tuple((item.price, item.quantity) for item in self.addon_items)


@dataclass(frozen=True)
class Target:
    """What it is to be made of. `seats` are all of them, included ones too; None where a plan has any number."""

    plan: PlanPrice
    seat: PlanPrice | None
    seats_extra: int
    seats: int | None
    addons: Addons = ()


@dataclass(frozen=True)
class Planned:
    """What a schedule brings next. `at` is in epoch seconds."""

    schedule_id: str
    at: int
    plan: PlanPrice
    seats_extra: int
    addons: Addons = ()


def read_terms(subscription: Json) -> Terms | None:
    """The terms of a subscription; None when its plan is none of the catalog's."""
    items = [(item, plan_for_stripe_price(item["price"]["id"])) for item in subscription["items"]["data"]]
    plans = [(item, price) for item, price in items if price is not None and price.purpose == "plan"]
    seats = [(item, price) for item, price in items if price is not None and price.purpose == "seat"]
    if len(plans) != 1 or len(seats) > 1:
        return None
    plan_item, plan = plans[0]
    seat_item, seat = seats[0] if seats else (None, None)
    return Terms(
        plan=plan,
        plan_item=plan_item["id"],
        seat=seat,
        seat_item=seat_item["id"] if seat_item else None,
        seats_extra=_quantity(seat_item) if seat_item else 0,
        addon_items=tuple(
            AddonItem(item["id"], price, _quantity(item), item["current_period_end"])
            for item in subscription["items"]["data"]
            if (price := addon_for_stripe_price(item["price"]["id"])) is not None
        ),
    )


def quantities(subscription: Json) -> dict[str, int]:
    """How many a subscription has of each of Stripe's prices."""
    return {item["price"]["id"]: _quantity(item) for item in subscription["items"]["data"]}


def _quantity(item: Json) -> int:
    return 1 if item.get("quantity") is None else int(item["quantity"])


def wanted_quantities(subscription: Json, terms: Terms, target: Target) -> dict[str, int]:
    """The same for what it is to become; what our pages do not change stays as it is."""
    own = {terms.plan.stripe_price_id, terms.seat.stripe_price_id if terms.seat else None}
    own |= {price.stripe_price_id for price, _ in terms.addons}
    kept = {price: number for price, number in quantities(subscription).items() if price not in own}
    return kept | {str(price): number for price, number in target_items(target)}


def target_items(target: Target) -> list[tuple[str | None, int]]:
    """The items of the plan, its further seats and its add-ons, as price and number."""
    items = [(target.plan.stripe_price_id, 1)]
    if target.seat and target.seats_extra:
        items.append((target.seat.stripe_price_id, target.seats_extra))
    return items + [(price.stripe_price_id, number) for price, number in target.addons]


def item_changes(terms: Terms, target: Target) -> list[Json]:
    """The `items` that make Stripe's subscription what it is to be, without those that stay as they are."""
    changes: list[Json] = []
    if target.plan.stripe_price_id != terms.plan.stripe_price_id:
        changes.append({"id": terms.plan_item, "price": target.plan.stripe_price_id})
    if target.seat is not None and target.seats_extra:
        where = {"id": terms.seat_item} if terms.seat_item else {}
        wanted = {"price": target.seat.stripe_price_id, "quantity": target.seats_extra}
        before = (terms.seat.stripe_price_id if terms.seat else None, terms.seats_extra)
        if before != (wanted["price"], wanted["quantity"]):
            changes.append(where | wanted)
    elif terms.seat_item:
        changes.append({"id": terms.seat_item, "deleted": True})
    return changes + _addon_changes(terms, target)


def _addon_changes(terms: Terms, target: Target) -> list[Json]:
    changes: list[Json] = []
    wanted = {price.addon_key: (price, number) for price, number in target.addons}
    for item in terms.addon_items:
        price, number = wanted.pop(item.price.addon_key, (item.price, 0))
        if not number:
            changes.append({"id": item.item_id, "deleted": True})
        elif (price.stripe_price_id, number) != (item.price.stripe_price_id, item.quantity):
            changes.append({"id": item.item_id, "price": price.stripe_price_id, "quantity": number})
    return changes + [{"price": price.stripe_price_id, "quantity": number} for price, number in wanted.values()]


def period_of(subscription: Json) -> tuple[int, int]:
    """Start and end of the current period, in epoch seconds."""
    items = subscription["items"]["data"]
    return max(item["current_period_start"] for item in items), min(item["current_period_end"] for item in items)


def planned(subscription: Json) -> Planned | None:
    """What the subscription's schedule (which has to be expanded) brings next; None when nothing is to change."""
    schedule = subscription.get("schedule")
    if not isinstance(schedule, dict) or not schedule.get("current_phase"):
        return None
    comes = [one for one in schedule["phases"] if one["start_date"] >= schedule["current_phase"]["end_date"]]
    if not comes or _of_phase(comes[0]) == quantities(subscription):
        return None
    found = [(plan_for_stripe_price(price), number) for price, number in _of_phase(comes[0]).items()]
    plan = next((price for price, _ in found if price is not None and price.purpose == "plan"), None)
    if plan is None:
        return None
    extra = sum(number for price, number in found if price is not None and price.purpose == "seat")
    addons = [(addon_for_stripe_price(price), number) for price, number in _of_phase(comes[0]).items()]
    kept = tuple((price, number) for price, number in addons if price is not None)
    return Planned(str(schedule["id"]), comes[0]["start_date"], plan, extra, kept)


def _of_phase(phase: Json) -> dict[str, int]:
    return {str(ref(item["price"])): _quantity(item) for item in phase["items"]}


def basis_of(subscription: Json) -> dict[str, Any]:
    """What a change is built upon. When any of it differs, what was shown for the change does not hold any more."""
    start, end = period_of(subscription)
    coming = planned(subscription)
    return {
        "status": subscription["status"],
        "items": quantities(subscription),
        "period": [start, end],
        "cancels": subscription.get("cancel_at") is not None or bool(subscription.get("cancel_at_period_end")),
        "discounts": sorted(str(ref(one)) for one in subscription.get("discounts") or []),
        "planned": _told(coming) if coming else None,
        "latest_invoice": str(ref(subscription.get("latest_invoice"))),
    }


def _told(coming: Planned) -> list[Any]:
    addons = [[price.price_id, number] for price, number in coming.addons]
    return [coming.at, coming.plan.price_id, coming.seats_extra, *addons]
