"""The mirror of cards and other payment methods: what a customer recognises, never a number."""

from __future__ import annotations

from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, fetch, lock_customer, ref, store
from portal.billing.models import Customer, PaymentMethod
from portal.billing.subscriptions import live_subscription
from portal.billing.trial_uses import record_cards
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
        "detached": data.get("customer") is None,
    }
    method = store(PaymentMethod, "pm", fetched, values)
    record_cards(team_id)
    return method


def mirror_attachment(fetched: Fetched) -> None:
    """Write whose payment method it is. Raises `StaleFetch`, or `UnknownCustomer` for one that nobody here has.

    A detached one names no customer any more: its row knows the team, and without a row it never was anybody's.
    """
    customer_id = ref(fetched.data.get("customer"))
    if customer_id is not None:
        team_id: str | None = lock_customer(customer_id).team_id
    else:
        query = select(PaymentMethod.team_id).where(PaymentMethod.stripe_id == fetched.stripe_id)
        team_id = db.session.execute(query).scalar()
    if team_id is not None:
        mirror_payment_method(fetched, team_id)


def charged_payment_method(team_id: str) -> PaymentMethod | None:
    """What the next invoice is charged to: the subscription's own, else the customer's default."""
    subscription = live_subscription(team_id)
    stripe_id = subscription.default_payment_method if subscription else None
    if stripe_id is None:
        query = select(Customer.default_payment_method).where(Customer.team_id == team_id)
        stripe_id = db.session.execute(query).scalar()
    if stripe_id is None:
        return None
    mine = (PaymentMethod.team_id == team_id) & PaymentMethod.detached.is_(False)
    method = select(PaymentMethod).where(PaymentMethod.stripe_id == stripe_id, mine)
    return db.session.execute(method).scalar_one_or_none()
