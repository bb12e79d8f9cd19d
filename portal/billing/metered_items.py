"""Subscriptions that should count what their plan counts, and do not: an item for it is added, without any charge for the past.

That is for subscriptions that were begun when the plan had its price for the meter already: a checkout from before the catalog
was at Stripe, or one that somebody made by hand. Whoever subscribed before the plan had an overage has not agreed to one and
keeps it so; a seller who has agreed with them otherwise says so with `flask catalog meter-existing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import Select, exists, func, select

from portal.billing.gateway import Gateway, InvalidRequest
from portal.billing.models import Subscription, SubscriptionItem
from portal.catalog.models import Plan, Price
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.unit_of_work import end_read, unit_of_work

log = structlog.get_logger(__name__)

BILLED = ("trialing", "active", "past_due")
REFUSED = "metered_item_refused"


@dataclass(frozen=True)
class Missing:
    """A subscription, and the price that it is to have."""

    subscription_stripe_id: str
    price_id: str
    stripe_price_id: str


def missing() -> list[Missing]:
    """Items that were agreed to: each at the terms that were sold when its subscription began."""
    # Stripe counts whole seconds.
    begun = func.date_trunc("second", Price.created_at) <= Subscription.started_at
    return _read(_without_item().where(begun))


def missing_for(plan_key: str) -> list[Missing]:
    """Items of all who have a plan, at the terms that are sold now."""
    return _read(_without_item().where(Plan.key == plan_key, Price.active))


def add(stripe: Gateway, wanted: list[Missing]) -> int:
    """Add items, each by itself; returns how many. Raises `GatewayError` for what is no matter of one subscription."""
    added = 0
    for one in wanted:
        params = {"items": [{"price": one.stripe_price_id}], "proration_behavior": "none"}
        try:
            stripe.update_subscription(
                one.subscription_stripe_id, params, f"metered-{one.subscription_stripe_id}-{one.price_id}"
            )
        except InvalidRequest as error:
            with unit_of_work():
                raise_alarm(REFUSED, one.subscription_stripe_id, price=one.stripe_price_id, error=error.message)
            continue
        log.info("metered_item_added", subscription_id=one.subscription_stripe_id, price=one.stripe_price_id)
        added += 1
    return added


def _without_item() -> Select[str, str | None, str, str | None]:
    """Subscriptions with the prices of their plans' meters that they have no item of; one that follows a schedule is left to that."""
    other = select(Price.id, Price.meter_id, Price.stripe_price_id).where(Price.meter_id.is_not(None)).subquery()
    has = exists(
        select(SubscriptionItem.id)
        .join(other, other.c.stripe_price_id == SubscriptionItem.stripe_price_id)
        .where(SubscriptionItem.subscription_id == Subscription.id, other.c.meter_id == Price.meter_id)
    )
    return (
        select(Subscription.stripe_id, Price.meter_id, Price.id, Price.stripe_price_id)
        .join(Plan, Plan.key == Subscription.plan_key)
        .join(Price, Price.plan_id == Plan.id)
        .where(Price.meter_id.is_not(None), Price.stripe_price_id.is_not(None))
        .where(Subscription.status.in_(BILLED), Subscription.duplicate.is_(False))
        .where(Subscription.schedule_stripe_id.is_(None), Subscription.currency == Price.currency)
        .where(~has)
        .order_by(Subscription.stripe_id, Price.created_at)
    )


def _read(query: Select[str, str | None, str, str | None]) -> list[Missing]:
    """The newest price of each meter."""
    rows = db.session.execute(query).all()
    end_read()
    newest = {(owner, meter): Missing(owner, price, str(stripe)) for owner, meter, price, stripe in rows}
    return list(newest.values())
