"""How many seats a team has, and how many of them are taken."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from portal.accounts.seats import members_of
from portal.billing.entitlements import effective
from portal.billing.models import Subscription, SubscriptionItem
from portal.catalog.models import Price
from portal.catalog.queries import plan_by_key
from portal.core.database import db


@dataclass(frozen=True)
class Seats:
    """`included` is None where the plan has any number, `most` is None where as many can be had as are paid for."""

    in_use: int
    included: int | None
    extra: int
    most: int | None

    @property
    def total(self) -> int | None:
        return None if self.included is None else self.included + self.extra


def seats_of(team_id: str) -> Seats:
    """The seats that count now: of the team's plan, with those that are paid for beside it, as long as its state leaves
    them; else of the plan in force.
    """
    rights, in_use = effective(team_id), members_of(team_id)
    key, subscription = rights.seats_subscription_id, None
    if key is not None:
        subscription = db.session.execute(select(Subscription).where(Subscription.id == key)).scalar_one_or_none()
    plan = plan_by_key(subscription.plan_key or "") if subscription else None
    if plan is None and rights.plan is not None:
        plan, subscription = plan_by_key(rights.plan.key), None
    if plan is None or plan.seats_included is None:
        return Seats(in_use, None, 0, None)
    extra = extra_seats(subscription) if subscription else 0
    return Seats(in_use, plan.seats_included, extra, _most(plan.key, plan.seats_included))


def _most(plan_key: str, included: int) -> int | None:
    plan = plan_by_key(plan_key)
    if plan is None:
        return included
    sold = select(Price.id).where(Price.plan_id == plan.id, Price.purpose == "seat", Price.active).limit(1)
    return plan.seats_max if db.session.execute(sold).scalar() else included


def extra_seats(subscription: Subscription) -> int:
    """The seats that a subscription has beyond its plan's own."""
    return sum(number for number, _ in seat_items(subscription))


def seat_items(subscription: Subscription) -> list[tuple[int, int]]:
    """The further seats of a subscription: how many, and what each costs in the minor unit."""
    seats = (
        select(SubscriptionItem.quantity, Price.unit_amount_cents)
        .join(Price, Price.stripe_price_id == SubscriptionItem.stripe_price_id)
        .where(SubscriptionItem.subscription_id == subscription.id, Price.purpose == "seat")
    )
    return [(number, cents) for number, cents in db.session.execute(seats) if number]
