"""The payment history as pages and CSV show it: what each line was, how it ended, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.billing.card_words import brand_label
from portal.billing.dispute_models import Dispute
from portal.billing.dispute_words import dispute_words
from portal.billing.disputes import disputes_of, disputes_of_team
from portal.billing.failure_words import payment_failure, refund_failure
from portal.billing.invoice_list import open_ids
from portal.billing.list_filters import Filters
from portal.billing.models import Payment
from portal.core.money import decimal_amount
from portal.core.pagination import Listing

TYPE_LABELS = {
    "subscription_payment": "Subscription",
    "upgrade": "Upgrade",
    "downgrade": "Downgrade",
    "cancel": "Plan ended",
    "top_up": "Top-up",
    "refund": "Refund",
}
STATUS_LABELS = {
    "pending": ("On its way", "warn"),
    "requires_action": ("Waits for you", "warn"),
    "succeeded": ("Paid", "ok"),
    "failed": ("Failed", "bad"),
    "canceled": ("Canceled", "idle"),
}
BUYING = ("subscription_payment", "upgrade", "top_up")
UNPAID = ("failed", "requires_action")
# What has happened is told in other words where nothing was paid.
DONE_LABELS = {"refund": ("Refunded", "ok"), "cancel": ("Ended", "idle")}
CSV_HEADER = (
    "Date", "Type", "Status", "Description", "Amount", "Refunded", "Currency", "Card", "Reason", "Invoice", "Payment",
    "Receipt",
)  # fmt: skip


@dataclass(frozen=True)
class PaymentRow:
    """`amount_cents` is None where no money was meant to move; `pay_invoice_id` is the invoice that can still be paid.

    `buys`: it is a payment that went through, and so may have bought credits.
    """

    id: str
    buys: bool
    date: datetime
    type_label: str
    description: str
    status_label: str
    tone: str
    amount_cents: int | None
    refunded_cents: int
    currency: str
    method: str
    reason: str | None
    receipt_url: str | None
    pay_invoice_id: str | None


def listing(team_id: str, filters: Filters) -> Listing[Payment]:
    query = select(Payment).where(Payment.team_id == team_id)
    if filters.type:
        query = query.where(Payment.type == filters.type)
    if filters.status:
        query = query.where(Payment.status == filters.status)
    return Listing(Payment, Payment.occurred_at, filters.within_days(query, Payment.occurred_at), team_id)


def rows_of(team_id: str, payments: list[Payment], *, way_out: bool = True) -> list[PaymentRow]:
    """The lines of a page, with what a bank has against them, and the way out where an invoice still waits for its money."""
    unpaid = [payment.invoice_stripe_id for payment in payments if payment.status in UNPAID and way_out]
    still_open = open_ids(team_id, unpaid)
    intents = [payment.payment_intent_stripe_id for payment in payments if payment.payment_intent_stripe_id]
    disputed = _newest_by_intent(disputes_of(intents))
    return [
        row_of(payment, still_open.get(payment.invoice_stripe_id or ""), _dispute_of(payment, disputed))
        for payment in payments
    ]


def _newest_by_intent(disputes: list[Dispute]) -> dict[str, Dispute]:
    return {str(one.payment_intent_stripe_id): one for one in disputes}


def _dispute_of(payment: Payment, disputed: dict[str, Dispute]) -> Dispute | None:
    """What a bank has against a payment; that some of it went back to the customer is nothing it could be about."""
    return disputed.get(payment.payment_intent_stripe_id or "") if payment.type != "refund" else None


def row_of(payment: Payment, pay_invoice_id: str | None = None, dispute: Dispute | None = None) -> PaymentRow:
    label, tone = STATUS_LABELS[payment.status]
    if payment.status == "succeeded":
        label, tone = DONE_LABELS.get(payment.type, (label, tone))
    reason = _reason(payment)
    if dispute is not None and payment.status == "succeeded":
        label, tone, reason = dispute_words(dispute)
    return PaymentRow(
        id=payment.id,
        buys=payment.status == "succeeded" and payment.type in BUYING,
        date=payment.occurred_at,
        type_label=TYPE_LABELS[payment.type],
        description=payment.description,
        status_label=label,
        tone=tone,
        amount_cents=None if payment.type == "cancel" else payment.amount,
        refunded_cents=payment.amount_refunded,
        currency=payment.currency,
        method=method_of(payment),
        reason=reason,
        receipt_url=payment.receipt_url,
        pay_invoice_id=pay_invoice_id if payment.status in UNPAID and payment.type != "refund" else None,
    )


def method_of(payment: Payment) -> str:
    """How it was paid, as far as Stripe knows."""
    if payment.last4:
        return f"{brand_label(payment.brand)} ending in {payment.last4}"
    outside = payment.payment_intent_stripe_id is None and payment.amount > 0
    return "Paid outside of Stripe" if outside else ""


def _reason(payment: Payment) -> str | None:
    if payment.status == "requires_action":
        return "The bank wants the payment to be confirmed. Nothing has been charged yet."
    if payment.status != "failed":
        return None
    return refund_failure(payment.failure_code) if payment.type == "refund" else payment_failure(payment.failure_code)


def csv_rows(team_id: str) -> Callable[[Payment], tuple[object, ...]]:
    """What makes a payment of the team a row of a file. The team's disputes are few, and read once."""
    disputed = _newest_by_intent(disputes_of_team(team_id))
    return lambda payment: _csv_row(payment, _dispute_of(payment, disputed))


def _csv_row(payment: Payment, dispute: Dispute | None) -> tuple[object, ...]:
    """Amounts in the minor unit would be read wrong by people, so they are written as decimals."""
    row = row_of(payment, dispute=dispute)
    return (
        payment.occurred_at,
        row.type_label,
        row.status_label,
        payment.description,
        decimal_amount(payment.amount, payment.currency),
        decimal_amount(payment.amount_refunded, payment.currency),
        payment.currency.upper(),
        row.method,
        row.reason,
        payment.invoice_stripe_id,
        payment.payment_intent_stripe_id,
        payment.receipt_url,
    )
