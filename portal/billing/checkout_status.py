"""What the return page says of a checkout: a pure reading of our own rows, never of what the browser brings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.billing.models import Checkout, Invoice, Subscription
from portal.catalog.queries import plan_by_key
from portal.core.database import db


@dataclass(frozen=True)
class CheckoutStatus:
    """`kind` is waiting, slow, done, expired or canceled; amounts in minor units, credits as granted."""

    kind: str
    plan_name: str
    credits: int
    amount_cents: int | None
    currency: str
    trial_ends_at: datetime | None


def read(visit: Checkout, credits_granted: int, *, canceled: bool, slow: bool) -> CheckoutStatus:
    plan = plan_by_key(visit.plan_key)
    subscription = _subscription(visit)
    invoice = _invoice(subscription)
    kind = kind_of(visit.state, mirrored=subscription is not None, canceled=canceled, slow=slow)
    trialing = subscription is not None and subscription.status == "trialing"
    return CheckoutStatus(
        kind=kind,
        plan_name=plan.name if plan else "",
        credits=credits_granted if kind == "done" else (plan.credits_monthly or 0 if plan else 0),
        amount_cents=invoice.amount_paid if invoice else None,
        currency=invoice.currency if invoice else "usd",
        trial_ends_at=subscription.trial_end if subscription and trialing else None,
    )


def kind_of(state: str, *, mirrored: bool, canceled: bool, slow: bool) -> str:
    if state == "complete" and mirrored:
        return "done"
    if state in ("expired", "replaced", "failed"):
        return "expired"
    if canceled:
        return "canceled"
    return "slow" if slow else "waiting"


def _subscription(visit: Checkout) -> Subscription | None:
    if visit.subscription_stripe_id is None:
        return None
    query = select(Subscription).where(
        Subscription.stripe_id == visit.subscription_stripe_id, Subscription.team_id == visit.team_id
    )
    return db.session.execute(query).scalar_one_or_none()


def _invoice(subscription: Subscription | None) -> Invoice | None:
    if subscription is None or subscription.latest_invoice is None:
        return None
    return db.session.execute(
        select(Invoice).where(Invoice.stripe_id == subscription.latest_invoice)
    ).scalar_one_or_none()
