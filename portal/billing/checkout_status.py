"""What the return page says of a checkout: a pure reading of our own rows, never of what the browser brings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.billing.models import Checkout, Invoice, Subscription
from portal.catalog.queries import interval_of, plan_by_key
from portal.core.database import db


@dataclass(frozen=True)
class CheckoutStatus:
    """`kind` is waiting, slow, pending, done, failed, expired or canceled; amounts in minor units.

    `name` is what was ordered. `credits` are those it gives, as granted once it is done. `again` are the fields of a
    form that sends the same order once more.
    """

    kind: str
    purpose: str
    name: str
    credits: int
    amount_cents: int | None
    currency: str
    trial_ends_at: datetime | None
    again: dict[str, str]


def read(visit: Checkout, credits_granted: int, *, canceled: bool, slow: bool) -> CheckoutStatus:
    if visit.purpose == "bundle":
        return _of_bundle(visit, credits_granted, canceled=canceled, slow=slow)
    plan = plan_by_key(visit.plan_key or "")
    subscription = _subscription(visit)
    invoice = _invoice(subscription)
    kind = kind_of(visit, arrived=subscription is not None, canceled=canceled, slow=slow)
    trialing = subscription is not None and subscription.status == "trialing"
    return CheckoutStatus(
        kind=kind,
        purpose="plan",
        name=plan.name if plan else "",
        credits=credits_granted if kind == "done" else (plan.credits_monthly or 0 if plan else 0),
        amount_cents=invoice.amount_paid if invoice else None,
        currency=invoice.currency if invoice else "usd",
        trial_ends_at=subscription.trial_end if subscription and trialing else None,
        again={"plan": visit.plan_key or "", "interval": interval_of(visit.price_id) or ""},
    )


def _of_bundle(visit: Checkout, credits_granted: int, *, canceled: bool, slow: bool) -> CheckoutStatus:
    token, _, code = (visit.order_key or "").partition(":")
    code = code.partition(":")[2]
    return CheckoutStatus(
        kind=kind_of(visit, arrived=credits_granted > 0, canceled=canceled, slow=slow),
        purpose="bundle",
        name=f"{visit.credits:,} credits",
        credits=credits_granted or visit.credits or 0,
        amount_cents=visit.amount_total if visit.amount_total is not None else visit.amount_cents,
        currency=visit.currency or "usd",
        trial_ends_at=None,
        again={"bundle": visit.bundle_key or "", "order": token} | ({"promotion_code": code} if code else {}),
    )


def kind_of(visit: Checkout, *, arrived: bool, canceled: bool, slow: bool) -> str:
    """`arrived`: what was bought is with the team. A payment that takes days is pending, not slow."""
    if visit.state == "complete" and arrived:
        return "done"
    if visit.state == "complete" and visit.payment_status in ("unpaid", "failed"):
        return "pending" if visit.payment_status == "unpaid" else "failed"
    if visit.state in ("expired", "replaced", "failed"):
        return "expired"
    if canceled and visit.state != "complete":
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
