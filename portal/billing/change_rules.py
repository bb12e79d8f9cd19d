"""Which changes of a plan, its seats or its add-ons are possible, and whether each is made at once or when the period ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from portal.billing.change_addons import addons_kept, addons_planned, addons_wished, refuse_loss
from portal.billing.change_refused import ChangeRefused
from portal.billing.change_terms import Planned, Target, Terms
from portal.catalog.metered_queries import metered_prices_of
from portal.catalog.models import Plan
from portal.catalog.queries import plan_by_key, price_for

# The states in which a subscription can be given other terms, and why not in the others.
CHANGEABLE = ("active", "trialing")
REASONS_OF_STATUS = {"past_due": "past_due", "unpaid": "past_due", "paused": "paused"}


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. `kind` is plan, seats, addon or undo; `seats` None leaves their number to the plan, and
    `quantity` is how many of an add-on there are to be.
    """

    kind: str
    plan_key: str = ""
    interval: str = ""
    seats: int | None = None
    promotion_code: str | None = None
    addon_key: str = ""
    quantity: int = 0


@dataclass(frozen=True)
class Decision:
    target: Target
    timing: str


def decide(
    wish: Wish, terms: Terms, coming: Planned | None, *, trialing: bool, members: int, period_end: int
) -> Decision:
    """What is to be done for a wish. `period_end` is in epoch seconds. Raises `ChangeRefused`."""
    if wish.kind == "undo":
        if coming is None:
            raise ChangeRefused("nothing_planned")
        return Decision(_as_it_is(terms), "now")
    if wish.kind == "seats":
        target = target_of(terms.plan.plan_key, terms.plan.interval, wish.seats, terms, members)
        if target.seats_extra == terms.seats_extra:
            raise ChangeRefused("nothing")
        if coming is not None:
            seats_after(coming, target.seats or 0, members)
        return Decision(target, "now")
    if wish.kind == "addon":
        wanted = addons_wished(terms, wish.addon_key, wish.quantity)
        if coming is not None:
            addons_planned(coming, wanted, wish.addon_key)
        return Decision(replace(_as_it_is(terms), addons=wanted), "now")
    if terms.plan.plan_key == wish.plan_key and terms.plan.interval == wish.interval:
        raise ChangeRefused("planned" if coming is not None else "nothing")
    target = target_of(wish.plan_key, wish.interval, wish.seats, terms, members)
    timing = timing_of(terms, target, trialing=trialing)
    if timing == "period_end":
        refuse_loss(terms, target, period_end)
    return Decision(target, timing)


def timing_of(terms: Terms, target: Target, *, trialing: bool) -> str:
    """`now` for more, `period_end` for less: what was paid for lasts. In a trial nothing was paid for."""
    if trialing:
        return "now"
    if terms.plan.interval == "year" and target.plan.interval == "month":
        return "period_end"
    before, after = _plan(terms.plan.plan_key), _plan(target.plan.plan_key)
    return "period_end" if after.position < before.position else "now"


def target_of(plan_key: str, interval: str, seats: int | None, terms: Terms, members: int) -> Target:
    """A plan with as many seats as were asked for; else as many as are needed and were paid for so far."""
    plan = plan_by_key(plan_key)
    if plan is None:
        raise ChangeRefused("not_sold")
    same = terms.plan.plan_key == plan_key and terms.plan.interval == interval
    price = terms.plan if same else price_for(plan_key, interval)
    if plan.kind == "custom":
        raise ChangeRefused("custom")
    if price is None or price.stripe_price_id is None:
        raise ChangeRefused("not_sold")
    seat = terms.seat if same and terms.seat else price_for(plan_key, interval, "seat")
    addons = terms.addons if same else addons_kept(terms.addons, plan_key, interval)
    # Whoever keeps the plan keeps what was agreed to for its use.
    metered = terms.metered if same else tuple(metered_prices_of(plan_key))
    if plan.seats_included is None:
        return Target(price, None, 0, None, addons, metered)
    number = seats if seats is not None else _seats_kept(plan, terms, members, sold=seat is not None)
    _check_seats(plan, number, members, sold=seat is not None and seat.stripe_price_id is not None)
    extra = max(number - plan.seats_included, 0)
    return Target(price, seat, extra, max(number, plan.seats_included), addons, metered)


def _seats_kept(plan: Plan, terms: Terms, members: int, *, sold: bool) -> int:
    """Seats that were paid for beyond a plan's own go on, and nobody loses theirs where more are sold."""
    before = _plan(terms.plan.plan_key).seats_included or 0
    wanted = max(members, before + terms.seats_extra if terms.seats_extra else 0)
    included = plan.seats_included or 0
    if not sold:
        return included
    return max(included, min(wanted, plan.seats_max) if plan.seats_max is not None else wanted)


def _check_seats(plan: Plan, number: int, members: int, *, sold: bool) -> None:
    included = plan.seats_included or 0
    most = plan.seats_max if sold else included
    if max(number, included) < members or (most is not None and most < members):
        raise ChangeRefused("too_many_members", members=members, seats=max(number, included), plan=plan.name)
    if number > included and not sold:
        raise ChangeRefused("no_seats", plan=plan.name, seats=included)
    if most is not None and number > most:
        raise ChangeRefused("seats_max", plan=plan.name, seats=most)


def seats_after(coming: Planned, seats: int, members: int) -> Target:
    """What a planned change is to bring when the team has this many seats: it must not forget any of them."""
    plan = _plan(coming.plan.plan_key)
    if plan.seats_included is None:
        return Target(coming.plan, None, 0, None, coming.addons, coming.metered)
    seat = price_for(coming.plan.plan_key, coming.plan.interval, "seat")
    most = plan.seats_max if seat is not None else plan.seats_included
    if most is not None and max(seats, members) > most:
        raise ChangeRefused("planned_seats", plan=plan.name, seats=most)
    number = max(seats, plan.seats_included)
    return Target(coming.plan, seat, number - plan.seats_included, number, coming.addons, coming.metered)


def addons_after(coming: Planned, target: Target, addon_key: str) -> Target:
    """What a planned change is to bring when the team has these add-ons: it must forget neither them nor its seats."""
    seat = price_for(coming.plan.plan_key, coming.plan.interval, "seat") if coming.seats_extra else None
    addons = addons_planned(coming, target.addons, addon_key)
    return Target(coming.plan, seat, coming.seats_extra, None, addons, coming.metered)


def _as_it_is(terms: Terms) -> Target:
    included = _plan(terms.plan.plan_key).seats_included
    seats = included + terms.seats_extra if included else None
    return Target(terms.plan, terms.seat, terms.seats_extra, seats, terms.addons, terms.metered)


def _plan(key: str) -> Plan:
    plan = plan_by_key(key)
    assert plan is not None, "a price has a plan"
    return plan
