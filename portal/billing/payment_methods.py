"""The mirror of cards and other payment methods: what a customer recognises, never a number."""

from __future__ import annotations

from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, fetch, store
from portal.billing.models import Customer, PaymentMethod
from portal.billing.subscriptions import live_subscription
from portal.core.database import db


def fetch_payment_method(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(PaymentMethod, stripe_id, gateway.payment_method)


def mirror_payment_method(fetched: Fetched, team_id: str) -> PaymentMethod:
    """Write the payment method of a team. Raises `StaleFetch`."""
    data = fetched.data
    card = data.get("card") or {}
    values = {
        "team_id": team_id,
        "type": data["type"],
        "brand": card.get("brand"),
        "last4": card.get("last4"),
        "exp_month": card.get("exp_month"),
        "exp_year": card.get("exp_year"),
        "fingerprint": card.get("fingerprint"),
    }
    return store(PaymentMethod, "pm", fetched, values)


def charged_payment_method(team_id: str) -> PaymentMethod | None:
    """What the next invoice is charged to: the subscription's own, else the customer's default."""
    subscription = live_subscription(team_id)
    stripe_id = subscription.default_payment_method if subscription else None
    if stripe_id is None:
        query = select(Customer.default_payment_method).where(Customer.team_id == team_id)
        stripe_id = db.session.execute(query).scalar()
    if stripe_id is None:
        return None
    method = select(PaymentMethod).where(PaymentMethod.stripe_id == stripe_id, PaymentMethod.team_id == team_id)
    return db.session.execute(method).scalar_one_or_none()
