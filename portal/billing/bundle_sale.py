"""Which bundles a team may buy: a plan can have them or not, by the catalog's feature `bundles`."""

from __future__ import annotations

from flask import url_for

from portal.billing.entitlements import has_feature
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import BundlePrice, bundle_prices, is_declared

FEATURE = "bundles"
# In these states of its subscription a team has what it agreed on, though the catalog cannot say what that is.
IN_FORCE = ("trialing", "active", "past_due")


def bundles_allowed(team_id: str) -> bool:
    """Whether the plan in force has bundles. A plan by agreement, which the catalog does not know, has them."""
    if not is_declared(FEATURE):
        return True
    subscription = live_subscription(team_id)
    if subscription is not None and subscription.status in IN_FORCE and subscription.plan_key is None:
        return True
    return has_feature(team_id, FEATURE)


def bundles_for(team_id: str) -> list[BundlePrice]:
    """What the team can buy now: nothing without the feature, and nothing that Stripe does not know yet."""
    if not bundles_allowed(team_id):
        return []
    return [price for price in bundle_prices() if price.stripe_price_id is not None]


def buy_path(team_id: str) -> str:
    """Where a team that has run out of credits buys more: bundles if its plan has them, else a larger plan."""
    if bundles_for(team_id):
        return url_for("credits.credits", team_id=team_id) + "#buy"
    return url_for("catalog.pricing", team=team_id)
