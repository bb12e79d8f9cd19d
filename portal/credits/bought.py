"""Which lots of credits a payment has bought: the one place that knows it, for refunds and disputes alike.

An invoice has paid for periods of a plan or for a change of plan, a checkout page for a bundle, and an
intent alone for what somebody buys without either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from portal.billing.models import PaidPeriod, Payment
from portal.billing.payments import paid_by_intent, paid_for_invoice, paid_on_page
from portal.core.database import db
from portal.credits.models import CreditGrant
from portal.credits.plan_months import cause_key, steps
from portal.credits.upgrades import lots_of_change


@dataclass(frozen=True)
class Lot:
    """Credits that a payment grants: the cause of their grant, and how many."""

    cause_key: str
    amount: int


@dataclass(frozen=True)
class Bought:
    """What was paid for together. Both are read when they are asked for, so that they can be read under a lock.

    `lots` are in the order of their time, whether they are granted by now or not.
    """

    team_id: str
    payments: Callable[[], list[Payment]]
    lots: Callable[[], list[Lot]]


def by_invoice(team_id: str, invoice_stripe_id: str) -> Bought:
    """The months of a plan that an invoice has paid for, and what a change of plan gave more."""

    def lots() -> list[Lot]:
        return _months(invoice_stripe_id) + [Lot(*lot) for lot in lots_of_change(invoice_stripe_id)]

    return Bought(team_id, lambda: paid_for_invoice(invoice_stripe_id), lots)


def on_page(team_id: str, checkout_stripe_id: str) -> Bought:
    """A bundle that was bought on a checkout page; no lot until it is granted."""
    cause = f"bundle:{checkout_stripe_id}"
    return Bought(team_id, lambda: paid_on_page(checkout_stripe_id), lambda: _granted(team_id, cause))


def with_intent(team_id: str, cause: str, payment_intent_stripe_id: str) -> Bought:
    """What an intent alone has paid for, as an auto-purchase; no lot until it is granted for this cause."""
    return Bought(team_id, lambda: paid_by_intent(payment_intent_stripe_id), lambda: _granted(team_id, cause))


def _months(invoice_stripe_id: str) -> list[Lot]:
    query = (
        select(PaidPeriod).where(PaidPeriod.invoice_stripe_id == invoice_stripe_id).order_by(PaidPeriod.period_start)
    )
    return [
        Lot(cause_key(paid.subscription_stripe_id, paid.kind, start), paid.credits_monthly)
        for paid in db.session.execute(query).scalars()
        if paid.credits_monthly
        for start, _end in steps(paid)
    ]


def _granted(team_id: str, cause: str) -> list[Lot]:
    query = select(CreditGrant.amount).where(CreditGrant.team_id == team_id, CreditGrant.cause_key == cause)
    amount = db.session.execute(query).scalar()
    return [Lot(cause, amount)] if amount is not None else []
