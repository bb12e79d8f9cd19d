"""How many people a team may have: the seats its plan includes, and those it pays for beside them."""

from __future__ import annotations

from sqlalchemy import func, select

from portal.billing.entitlements import effective
from portal.billing.models import SubscriptionItem
from portal.billing.subscriptions import live_subscription
from portal.catalog.models import Price
from portal.core.database import db

# Where no plan is in force, and the product has no free one: room for whoever made the team.
SEATS_WITHOUT_A_PLAN = 1


def seat_limit(team_id: str) -> int | None:
    """The seats the team has now; None is any number. As Stripe's mirror says, which may be a moment behind."""
    plan = effective(team_id).plan
    if plan is None:
        return SEATS_WITHOUT_A_PLAN
    if plan.seats_included is None:
        return None
    return plan.seats_included + _extra_seats(team_id, plan.key)


def _extra_seats(team_id: str, plan_key: str) -> int:
    """The quantity of the lines whose price is a seat's; none while the subscription's own plan is not in force."""
    subscription = live_subscription(team_id)
    if subscription is None or subscription.plan_key != plan_key:
        return 0
    paid = (
        select(func.coalesce(func.sum(SubscriptionItem.quantity), 0))
        .join(Price, Price.stripe_price_id == SubscriptionItem.stripe_price_id)
        .where(SubscriptionItem.subscription_id == subscription.id, Price.purpose == "seat")
    )
    return int(db.session.execute(paid).scalar_one())
