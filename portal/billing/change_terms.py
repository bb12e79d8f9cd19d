"""What a subscription is made of, as far as our pages change it: a plan with its interval, further seats, add-ons, and the
prices of what the plan counts.

All of it is read from Stripe's object, since a change must be asked for against what is true there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portal.billing.mirror import Json, ref
from portal.catalog.addon_queries import AddonPrice, addon_for_stripe_price
from portal.catalog.metered_queries import MeteredPrice, metered_for_stripe_price, metered_prices
from portal.catalog.queries import PlanPrice, plan_for_stripe_price

# How many of which add-on; there is one price of each.
Addons = tuple[tuple[AddonPrice, int], ...]
# By Stripe's price: how many are ordered; of what a meter counts nobody orders any.
Quantities = dict[str, int | None]
DISCOUNT_NAMES = ("coupon", "discount", "promotion_code")


@dataclass(frozen=True)
class AddonItem:
    """An add-on as one of Stripe's items; `paid_until` is in epoch seconds."""

    item_id: str
    price: AddonPrice
    quantity: int
    paid_until: int


@dataclass(frozen=True)
class Terms:
    """`plan_item` and `seat_item` are the ids of Stripe's items, as are those beside the metered prices; `seat` is what a
    further seat costs now, if there is one.
    """

    plan: PlanPrice
    plan_item: str
    seat: PlanPrice | None
    seat_item: str | None
    seats_extra: int
    addon_items: tuple[AddonItem, ...] = ()
    metered_items: tuple[tuple[str, MeteredPrice], ...] = ()

    @property
    def metered(self) -> tuple[MeteredPrice, ...]:
        return tuple(price for _, price in self.metered_items)

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
    metered: tuple[MeteredPrice, ...] = ()


@dataclass(frozen=True)
class Planned:
    """What a schedule brings next. `at` is in epoch seconds; each of `discounts` names a coupon, a promotion code or a
    discount that the subscription had, as Stripe is asked for it.
    """

    schedule_id: str
    at: int
    plan: PlanPrice
    seats_extra: int
    addons: Addons = ()
    metered: tuple[MeteredPrice, ...] = ()
    discounts: tuple[Json, ...] = ()


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
        seats_extra=_number(seat_item) if seat_item else 0,
        addon_items=tuple(
            AddonItem(item["id"], price, _number(item), item["current_period_end"])
            for item in subscription["items"]["data"]
            if (price := addon_for_stripe_price(item["price"]["id"])) is not None
        ),
        metered_items=tuple(
            (str(item["id"]), counted)
            for item in subscription["items"]["data"]
            if is_metered(item) and (counted := metered_for_stripe_price(item["price"]["id"])) is not None
        ),
    )


def is_metered(item: Json) -> bool:
    """Whether an item is of what a meter counts."""
    return bool((item["price"].get("recurring") or {}).get("usage_type") == "metered")


def quantities(subscription: Json) -> Quantities:
    """How many a subscription has of each of Stripe's prices."""
    return {item["price"]["id"]: None if is_metered(item) else _number(item) for item in subscription["items"]["data"]}


def _number(item: Json) -> int:
    return 1 if item.get("quantity") is None else int(item["quantity"])


def ordered(price: str | None, number: int | None) -> Json:
    """An item as Stripe is asked for it: of what a meter counts without a number."""
    return {"price": price} if number is None else {"price": price, "quantity": number}


def wanted_quantities(subscription: Json, terms: Terms, target: Target) -> Quantities:
    """The same for what it is to become; what our pages do not change stays as it is."""
    own = {terms.plan.stripe_price_id, terms.seat.stripe_price_id if terms.seat else None}
    own |= {price.stripe_price_id for price, _ in terms.addons} | {price.stripe_price_id for price in terms.metered}
    kept = {price: number for price, number in quantities(subscription).items() if price not in own}
    return kept | {str(price): number for price, number in target_items(target)}


def target_items(target: Target) -> list[tuple[str | None, int | None]]:
    """The items of the plan, its further seats, its add-ons and what it counts, as price and number."""
    items: list[tuple[str | None, int | None]] = [(target.plan.stripe_price_id, 1)]
    if target.seat and target.seats_extra:
        items.append((target.seat.stripe_price_id, target.seats_extra))
    items += [(price.stripe_price_id, number) for price, number in target.addons]
    return items + [(price.stripe_price_id, None) for price in target.metered]


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
    return changes + _addon_changes(terms, target) + _metered_changes(terms, target)


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


def _metered_changes(terms: Terms, target: Target) -> list[Json]:
    """The price of a meter becomes that of the same meter, so that its item goes on."""
    changes: list[Json] = []
    wanted = {price.meter_key: price for price in target.metered}
    for item_id, held in terms.metered_items:
        price = wanted.pop(held.meter_key, None)
        if price is None:
            changes.append({"id": item_id, "deleted": True})
        elif price.stripe_price_id != held.stripe_price_id:
            changes.append({"id": item_id, "price": price.stripe_price_id})
    return changes + [{"price": price.stripe_price_id} for price in wanted.values()]


def period_of(subscription: Json) -> tuple[int, int]:
    """Start and end of the current period, in epoch seconds. What is counted by the month beside a yearly plan has months of
    its own, at whose ends nothing happens to the plan.
    """
    every = subscription["items"]["data"]
    items = [item for item in every if not is_metered(item)] or every
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
    extra = sum(number or 0 for price, number in found if price is not None and price.purpose == "seat")
    addons = [(addon_for_stripe_price(price), number) for price, number in _of_phase(comes[0]).items()]
    kept = tuple((price, number or 0) for price, number in addons if price is not None)
    metered = tuple(metered_prices(list(_of_phase(comes[0]))))
    return Planned(str(schedule["id"]), comes[0]["start_date"], plan, extra, kept, metered, _discounts_of(comes[0]))


def _of_phase(phase: Json) -> Quantities:
    return {str(ref(item["price"])): item.get("quantity") for item in phase["items"]}


def _discounts_of(phase: Json) -> tuple[Json, ...]:
    """What a phase takes off, without the names that are not given: Stripe tells all three of them and takes one."""
    return tuple(
        {name: ref(one[name]) for name in DISCOUNT_NAMES if one.get(name)} for one in phase.get("discounts") or []
    )


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
    metered = [price.price_id for price in coming.metered]
    return [coming.at, coming.plan.price_id, coming.seats_extra, *addons, *metered, *coming.discounts]
