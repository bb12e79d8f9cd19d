"""How many people a team may have: the seats its plan includes, and those it pays for beside them."""

from __future__ import annotations

from sqlalchemy import func, select

from portal.billing.entitlements import IN_FORCE, plan_in_force
from portal.billing.models import Subscription, SubscriptionItem
from portal.billing.subscriptions import live_subscription
from portal.catalog.models import Price
from portal.core.database import db

# Where no plan is in force, and the product has no free one: room for whoever made the team.
SEATS_WITHOUT_A_PLAN = 1


def seats_of(team_id: str) -> int | None:
    """The seats the team has now; None is any number. As Stripe's mirror says, which may be a moment behind."""
    subscription = live_subscription(team_id)
    plan = plan_in_force(subscription)
    if plan is None:
        return SEATS_WITHOUT_A_PLAN
    if plan.seats_included is None:
        return None
    return plan.seats_included + _extra_seats(subscription)


def _extra_seats(subscription: Subscription | None) -> int:
    """The quantity of the subscription's lines whose price is a seat's, while the plan beside them is in force."""
    if subscription is None or subscription.status not in IN_FORCE:
        return 0
    paid = (
        select(func.coalesce(func.sum(SubscriptionItem.quantity), 0))
        .join(Price, Price.stripe_price_id == SubscriptionItem.stripe_price_id)
        .where(SubscriptionItem.subscription_id == subscription.id, Price.purpose == "seat")
    )
    return int(db.session.execute(paid).scalar_one())
