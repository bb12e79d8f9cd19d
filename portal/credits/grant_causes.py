"""Where a grant comes from: the paid line of an invoice, a checkout, a free month, a gift. Its key names the fact.

And the other way round: what a charge has bought.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, select

from portal.billing.dispute_models import Dispute
from portal.billing.models import Checkout, Invoice, PaidPeriod, Payment, Refund
from portal.core.database import db
from portal.credits.book import AUTO_PURCHASE
from portal.credits.models import CreditGrant
from portal.credits.plan_months import cause_key as plan_cause
from portal.credits.plan_months import steps
from portal.credits.purchase_models import PurchaseIntent
from portal.credits.upgrades import lots_of_change


@dataclass(frozen=True)
class Cause:
    """`line` is the invoice's line that was paid for; `original` the cause of the grant that this one makes good for."""

    words: str
    invoice: Invoice | None = None
    line: str = ""
    payments: Sequence[Payment] = field(default_factory=tuple)
    original: str | None = None


@dataclass(frozen=True)
class Bought:
    """A grant that a charge has bought, or will: one that was not granted (yet) has no `grant`."""

    cause_key: str
    words: str
    amount: int
    since: datetime | None
    grant: CreditGrant | None


def cause_of(team_id: str, cause_key: str, kind: str, source: str, effective_at: datetime) -> Cause:
    """By the first part of the key; what has no line here is told in the grant's own words."""
    first, _colon, rest = cause_key.partition(":")
    if kind == "subscription" and rest.startswith("free:"):
        return Cause("A month of the free plan, counted from the day the team began.")
    found = CAUSES.get(first)
    return found(team_id, rest, effective_at) if found else Cause(source or "Given by whoever runs this service.")


def _of_period(team_id: str, rest: str, effective_at: datetime) -> Cause:
    subscription, _colon, kind = rest.rsplit(":", 1)[0].rpartition(":")
    query = select(PaidPeriod).where(
        PaidPeriod.team_id == team_id,
        PaidPeriod.subscription_stripe_id == subscription,
        PaidPeriod.kind == kind,
        PaidPeriod.period_start <= effective_at,
        PaidPeriod.period_end > effective_at,
    )
    # Two stand beside each other where a month became a year, or the other way round: the grant begins a month of one.
    around = db.session.execute(query.order_by(PaidPeriod.period_start.desc())).scalars()
    paid = next((paid for paid in around if any(start == effective_at for start, _end in steps(paid))), None)
    if paid is None:
        return Cause("A month of the plan.")
    invoice = _invoice(team_id, paid.invoice_stripe_id)
    words = "The time of a trial." if kind == "trial" else _months_words(paid)
    return Cause(words, invoice, _line(invoice, paid), _payments(team_id, paid.invoice_stripe_id))


def _months_words(paid: PaidPeriod) -> str:
    return "A month of the plan, paid for." if paid.interval == "month" else "A month of a year that is paid for."


def _of_checkout(team_id: str, rest: str, _effective_at: datetime) -> Cause:
    query = select(Checkout).where(Checkout.team_id == team_id, Checkout.stripe_id == rest)
    checkout = db.session.execute(query).scalar()
    payments = _paid(team_id, Payment.checkout_stripe_id == rest)
    invoice = next((_invoice(team_id, paid.invoice_stripe_id) for paid in payments if paid.invoice_stripe_id), None)
    if checkout is None:
        return Cause("A bundle that was bought.", invoice, "", payments)
    return Cause(f"A bundle of {checkout.credits:,} credits that was bought.", invoice, "", payments)


def _of_failed_refund(team_id: str, rest: str, _effective_at: datetime) -> Cause:
    refund_id, _colon, original = rest.partition(":")
    query = select(Refund).where(Refund.team_id == team_id, Refund.stripe_id == refund_id)
    refund = db.session.execute(query).scalar()
    payments = (
        _paid(team_id, Payment.payment_intent_stripe_id == refund.payment_intent_stripe_id)
        if refund is not None and refund.payment_intent_stripe_id
        else []
    )
    return Cause("A refund had taken credits back and did not go through in the end.", None, "", payments, original)


def _of_dispute(words: str) -> Callable[[str, str, datetime], Cause]:
    def found(team_id: str, rest: str, _effective_at: datetime) -> Cause:
        dispute_id, _colon, original = rest.partition(":")
        query = select(Dispute).where(Dispute.team_id == team_id, Dispute.stripe_id == dispute_id)
        dispute = db.session.execute(query).scalar()
        intent = dispute.payment_intent_stripe_id if dispute is not None else None
        payments = _paid(team_id, Payment.payment_intent_stripe_id == intent) if intent else []
        return Cause(words, None, "", payments, original)

    return found


def _of_upgrade(team_id: str, rest: str, _effective_at: datetime) -> Cause:
    invoice_id = rest.partition(":")[0]
    return Cause(
        "A change to a plan with more credits, paid for.",
        _invoice(team_id, invoice_id),
        "",
        _payments(team_id, invoice_id),
    )


def _of_auto_purchase(team_id: str, rest: str, _effective_at: datetime) -> Cause:
    query = select(PurchaseIntent).where(PurchaseIntent.team_id == team_id, PurchaseIntent.id == rest)
    purchase = db.session.execute(query).scalar()
    intent = purchase.payment_intent_stripe_id if purchase is not None else None
    payments = _paid(team_id, Payment.payment_intent_stripe_id == intent) if intent else []
    return Cause("Bought by auto-purchase.", None, "", payments)


# By the first part of a grant's key. Whoever grants for another kind of fact adds a line.
CAUSES: dict[str, Callable[[str, str, datetime], Cause]] = {
    "period": _of_period,
    "bundle": _of_checkout,
    "auto": _of_auto_purchase,
    "upgrade": _of_upgrade,
    "refund_failed": _of_failed_refund,
    "dispute_returned": _of_dispute("A dispute had taken credits back and was won after all."),
    "dispute_won": _of_dispute("A dispute was won after the credits that it kept out of reach had ended."),
}


def bought_with(payment: Payment) -> list[Bought]:
    """What a charge has bought, in the order of time; a year's months that are to come are in it too."""
    causes: list[tuple[str, str, int, datetime | None]] = []
    if payment.checkout_stripe_id and not payment.invoice_stripe_id:
        causes.append((f"bundle:{payment.checkout_stripe_id}", payment.description, 0, None))
    if payment.invoice_stripe_id:
        query = select(PaidPeriod).where(
            PaidPeriod.team_id == payment.team_id, PaidPeriod.invoice_stripe_id == payment.invoice_stripe_id
        )
        for paid in db.session.execute(query.order_by(PaidPeriod.period_start)).scalars():
            causes += [
                (plan_cause(paid.subscription_stripe_id, paid.kind, start), "Plan credits", paid.credits_monthly, start)
                for start, _end in steps(paid)
                if paid.credits_monthly
            ]
        causes += [
            (cause, "Credits of a dearer plan", amount, None)
            for cause, amount in lots_of_change(payment.invoice_stripe_id)
        ]
    if payment.payment_intent_stripe_id:
        bought = select(PurchaseIntent).where(
            PurchaseIntent.team_id == payment.team_id,
            PurchaseIntent.payment_intent_stripe_id == payment.payment_intent_stripe_id,
        )
        causes += [
            (f"{AUTO_PURCHASE}{purchase.id}", "Auto-purchase", purchase.credits, None)
            for purchase in db.session.execute(bought).scalars()
        ]
    granted = select(CreditGrant).where(
        CreditGrant.team_id == payment.team_id, CreditGrant.cause_key.in_([cause[0] for cause in causes])
    )
    grants = {grant.cause_key: grant for grant in db.session.execute(granted).scalars()}
    found = [
        Bought(key, words, grants[key].amount if key in grants else amount, start, grants.get(key))
        for key, words, amount, start in causes
    ]
    return [row for row in found if row.amount]


def _invoice(team_id: str, stripe_id: str | None) -> Invoice | None:
    query = select(Invoice).where(Invoice.team_id == team_id, Invoice.stripe_id == stripe_id)
    return db.session.execute(query).scalar()


def _line(invoice: Invoice | None, paid: PaidPeriod) -> str:
    """The line that bills the period's time, in Stripe's words."""
    start = int(paid.period_start.timestamp())
    lines = invoice.lines if invoice is not None else []
    return next((line.get("description") or "" for line in lines if line["period_start"] == start), "")


def _payments(team_id: str, invoice_stripe_id: str) -> list[Payment]:
    return _paid(team_id, Payment.invoice_stripe_id == invoice_stripe_id)


def _paid(team_id: str, condition: ColumnElement[bool]) -> list[Payment]:
    query = select(Payment).where(
        Payment.team_id == team_id, condition, Payment.status == "succeeded", Payment.type != "refund"
    )
    return list(db.session.execute(query.order_by(Payment.occurred_at, Payment.id)).scalars())
