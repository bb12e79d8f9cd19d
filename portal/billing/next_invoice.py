"""What the next invoice of a plan will say, as Stripe works it out when it is asked: nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.billing.gateway import Gateway, InvalidRequest, NotFound
from portal.billing.invoice_sums import Sums, sums_of
from portal.billing.metered_words import line_words, said_at_stripe
from portal.billing.mirror import Json, moment
from portal.billing.models import Subscription
from portal.billing.subscriptions import live_subscription
from portal.core.unit_of_work import end_read


@dataclass(frozen=True)
class NextInvoice:
    """`lines` are what is billed and what it comes to, before discounts and tax; amounts in the minor unit."""

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
    at = subscription.current_period_end if subscription else None
    end_read()
    if asked is None:
        return None
    try:
        invoice = gateway.preview_invoice(asked)
    except (InvalidRequest, NotFound):  # nothing is to be billed, by Stripe's own account
        return None
    return _told(invoice, at)


def _asked(subscription: Subscription) -> Json | None:
    """What is scheduled is a part of what comes."""
    if subscription.cancel_at is not None or subscription.status in ("paused", "unpaid"):
        return None
    if subscription.schedule_stripe_id is not None:
        return {"schedule": subscription.schedule_stripe_id}
    return {"subscription": subscription.stripe_id}


def _told(invoice: Json, at: datetime | None) -> NextInvoice:
    return NextInvoice(
        at=at or moment(invoice.get("next_payment_attempt") or invoice["period_end"]),
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
