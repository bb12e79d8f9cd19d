"""What the next invoice of a plan will say, as Stripe works it out when it is asked: nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from portal.billing.gateway import Gateway, InvalidRequest, NotFound
from portal.billing.invoice_sums import Sums, sums_of
from portal.billing.metered_words import line_words, said_at_stripe
from portal.billing.mirror import Json, moment
from portal.billing.models import Subscription, SubscriptionItem
from portal.billing.subscriptions import live_subscription
from portal.core.database import db
from portal.core.unit_of_work import end_read


@dataclass(frozen=True)
class NextInvoice:
    """`lines` are what is billed `at` that time and what it comes to, before discounts and tax; amounts in the minor unit."""

    at: datetime | None
    currency: str
    lines: list[tuple[str, int]]
    sums: Sums
    from_balance: int
    amount_due: int


def read(gateway: Gateway, team_id: str) -> NextInvoice | None:
    """Ask Stripe; None when no invoice comes by itself. Raises `GatewayError`."""
    subscription = live_subscription(team_id)
    asked = _asked(subscription) if subscription else None
    end_read()
    if asked is None:
        return None
    try:
        invoice = gateway.preview_invoice(asked)
    except (InvalidRequest, NotFound):  # nothing is to be billed, by Stripe's own account
        return None
    return _told(invoice)


def comes_at(subscription: Subscription) -> datetime | None:
    """When it comes, as far as our rows say: with the first item whose period ends. What is counted by the month beside a
    plan that is paid by the year is billed long before that renews.
    """
    query = select(func.min(SubscriptionItem.current_period_end))
    first = db.session.execute(query.where(SubscriptionItem.subscription_id == subscription.id)).scalar_one_or_none()
    return first or subscription.current_period_end


def _asked(subscription: Subscription) -> Json | None:
    """What is scheduled is a part of what comes."""
    if subscription.cancel_at is not None or subscription.status in ("paused", "unpaid"):
        return None
    if subscription.schedule_stripe_id is not None:
        return {"schedule": subscription.schedule_stripe_id}
    return {"subscription": subscription.stripe_id}


def _told(invoice: Json) -> NextInvoice:
    return NextInvoice(
        at=moment(invoice["period_end"]),
        currency=invoice["currency"],
        lines=[(line_words(said_at_stripe(line)), line["amount"]) for line in invoice["lines"]["data"]],
        sums=sums_of(
            invoice["subtotal"],
            sum(one["amount"] for one in invoice.get("total_discount_amounts") or []),
            sum(one["amount"] for one in invoice.get("total_taxes") or []),
            invoice["total"],
        ),
        # A customer's balance is negative where we owe them something.
        from_balance=max(invoice["total"], 0) - invoice["amount_due"],
        amount_due=invoice["amount_due"],
    )
