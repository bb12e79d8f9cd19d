"""Giving a team a plan with so many seats, as Stripe's mirror has it once somebody has paid."""

from __future__ import annotations

from typing import Any

from portal.billing.models import Subscription, SubscriptionItem
from portal.catalog.queries import price_for
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work

# What the default catalog includes.
STARTER_SEATS, PRO_SEATS = 3, 10


def on_plan(team_id: str, plan: str = "pro", *, extra_seats: int = 0, **values: Any) -> None:
    """In place of whatever plan the team had."""
    with unit_of_work():
        now = clock.now()
        db.session.query(SubscriptionItem).filter_by(team_id=team_id).delete()
        db.session.query(Subscription).filter_by(team_id=team_id).delete()
        told = {"status": "active", "plan_key": plan, "currency": "usd", "started_at": now} | values
        subscription = Subscription(
            id=new_id("subn"), stripe_id=new_id("sub"), gen=1, synced_at=now, team_id=team_id, **told
        )
        db.session.add(subscription)
        db.session.flush()
        for purpose, quantity in (("plan", 1), ("seat", extra_seats)):
            price = price_for(plan, "month", purpose)
            if price is not None and quantity:
                db.session.add(_item(subscription, price.stripe_price_id or "", quantity))
    db.session.remove()


def _item(subscription: Subscription, stripe_price_id: str, quantity: int) -> SubscriptionItem:
    return SubscriptionItem(
        id=new_id("sitem"),
        subscription_id=subscription.id,
        team_id=subscription.team_id,
        stripe_id=new_id("si"),
        stripe_price_id=stripe_price_id,
        quantity=quantity,
        current_period_start=subscription.started_at,
        current_period_end=subscription.started_at,
    )
