"""Which bundles a team may buy, and how often: a plan can have them or not, by the catalog's feature `bundles`."""

from __future__ import annotations

from dataclasses import dataclass
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
# What takes longer has ended without an answer, and nobody was sent to its page: whoever asks for it again begins anew.
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


@dataclass(frozen=True)
class Allowance:
    """How often a team may buy a bundle in this calendar month (UTC), has bought it, and may be about to."""

    limit: int
    bought: int
    under_way: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.bought - self.under_way)


def allowance(team_id: str, bundle: BundlePrice, but: Checkout | None = None) -> Allowance | None:
    """None for as often as the team likes; of the checkout `but` it is not known yet whether it comes to anything.

    A page that can still be paid is under way, so that two people cannot both buy the last one. What a bank has not said yes
    to so far is bought, and so is what is given back later.
    """
    if bundle.limit_per_month is None:
        return None
    now, state = clock.now(), Checkout.state
    refused = Checkout.payment_status == "failed"
    bought = (state == "complete") & (Checkout.completed_at >= month_start(now)) & refused.is_not(true())
    making = (state == "starting") & (Checkout.created_at > now - PAGE_IS_MADE_WITHIN)
    others = (Checkout.team_id == team_id) & (Checkout.bundle_key == bundle.bundle_key)
    if but is not None:
        others &= Checkout.id != but.id
    counts = (func.count().filter(bought), func.count().filter(making | (state == "open")))
    return Allowance(bundle.limit_per_month, *db.session.execute(select(*counts).where(others)).one())


def page_under_way(team_id: str, bundle: BundlePrice) -> str | None:
    """Where the newest page of the bundle is that can still be paid."""
    mine = (Checkout.team_id == team_id) & (Checkout.bundle_key == bundle.bundle_key) & (Checkout.state == "open")
    query = select(Checkout.url).where(mine).order_by(Checkout.created_at.desc(), Checkout.id.desc()).limit(1)
    return db.session.execute(query).scalar()


def buy_path(team_id: str) -> str:
    """Where a team that has run out of credits buys more: bundles if it may buy any, else a larger plan."""
    may = (allowance(team_id, bundle) for bundle in bundles_for(team_id))
    if any(one is None or one.left for one in may):
        return url_for("credits.credits", team_id=team_id) + "#buy"
    return url_for("catalog.pricing", team=team_id)
