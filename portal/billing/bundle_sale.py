"""Which bundles a team may buy, and how often: a plan can have them or not, by the catalog's feature `bundles`."""

from __future__ import annotations

from datetime import timedelta

from flask import url_for
from sqlalchemy import func, select, true

from portal.billing.entitlements import has_feature
from portal.billing.models import Checkout
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import BundlePrice, bundle_prices, is_declared
from portal.core import clock
from portal.core.database import db
from portal.core.times import month_start

FEATURE = "bundles"
# In these states of its subscription a team has what it agreed on, though the catalog cannot say what that is.
IN_FORCE = ("trialing", "active", "past_due")
# What takes longer has ended without an answer, and nobody was sent to its page.
PAGE_IS_MADE_WITHIN = timedelta(minutes=5)


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


def left_this_month(team_id: str, bundle: BundlePrice) -> int | None:
    """How often the team may still buy it in this calendar month (UTC); None for as often as it likes.

    A page that can still be paid counts, so that two people cannot both buy the last one, and so does what a bank has not
    said yes to so far. What is given back later has been bought all the same.
    """
    if bundle.limit_per_month is None:
        return None
    now = clock.now()
    refused = Checkout.payment_status == "failed"
    bought = (Checkout.state == "complete") & (Checkout.completed_at >= month_start(now)) & refused.is_not(true())
    making = (Checkout.state == "starting") & (Checkout.created_at > now - PAGE_IS_MADE_WITHIN)
    mine = (Checkout.team_id == team_id) & (Checkout.bundle_key == bundle.bundle_key)
    query = select(func.count(Checkout.id)).where(mine, bought | making | (Checkout.state == "open"))
    return max(0, bundle.limit_per_month - db.session.execute(query).scalar_one())


def buy_path(team_id: str) -> str:
    """Where a team that has run out of credits buys more: bundles if its plan has them, else a larger plan."""
    if bundles_for(team_id):
        return url_for("credits.credits", team_id=team_id) + "#buy"
    return url_for("catalog.pricing", team=team_id)
