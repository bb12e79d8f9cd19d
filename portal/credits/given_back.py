"""Credits of a period of which the rest was given back, when a plan was ended before it: they go in the same proportion.

The rule. A plan that has ended with an invoice that gives the time from an instant on back, and bills nothing of the plan,
takes back of the month's lot `amount * rest / month`, rounded down, both counted to the second, and of what an upgrade gave
for the rest of that month as large a share as is left of it. Months of a year that were to come are never granted, since
the plan has ended. What was spent already becomes debt; the ledger sees to that.

It follows from Stripe's invoice, wherever the plan was ended, and is keyed by it. A refund that pays the rest out afterwards
takes the same credits not a second time (`undo.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from portal.billing.models import Invoice, PaidPeriod, Subscription
from portal.catalog.queries import plan_for_stripe_price
from portal.core.database import db
from portal.credits import ledger
from portal.credits.models import CreditGrant, CreditReversal
from portal.credits.plan_months import cause_key, steps

CAUSE = "given_back"
# Of those that come after what is given back, at most one a month bills what was used.
LAST_INVOICES = 50


@dataclass(frozen=True)
class GivenBack:
    """What was taken of a lot because its rest was given back: so many credits, by an invoice of that time."""

    credits: int
    at: datetime


def given_back_of(team_id: str, lots: Sequence[str]) -> dict[str, GivenBack]:
    """What was taken of these lots, by the causes of their grants; the account is locked."""
    invoice = Invoice.stripe_id == func.split_part(CreditReversal.cause_key, ":", 2)
    query = (
        select(CreditGrant.cause_key, func.sum(CreditReversal.amount), func.min(Invoice.created_at))
        .join(CreditReversal, CreditReversal.grant_id == CreditGrant.id)
        .join(Invoice, invoice & (Invoice.team_id == CreditReversal.team_id))
        .where(CreditReversal.team_id == team_id, CreditGrant.team_id == team_id, CreditGrant.cause_key.in_(lots))
        .where(CreditReversal.cause_key.like(f"{CAUSE}:%"))
        .group_by(CreditGrant.cause_key)
    )
    return {lot: GivenBack(int(taken), at) for lot, taken, at in db.session.execute(query)}


def take_back_given(subscription: Subscription) -> None:
    """Take back the share of what was given back of a plan that is over. Done twice it is the same.

    Not only the last invoice can give it back: one that bills what was used may come after that.
    """
    if subscription.ended_at is None:
        return
    for invoice in _last_invoices(subscription):
        lines = [line for line in invoice.lines if _is_plans(line["price"])]
        if any(line["amount"] > 0 or not line["proration"] for line in lines):
            return  # what was given back before that is another time's, or was charged again
        if (since := _given_back_from(lines)) is not None:
            _take_shares(subscription, invoice, since)


def _last_invoices(subscription: Subscription) -> list[Invoice]:
    """Newest first."""
    of_subscription = (Invoice.team_id == subscription.team_id) & (
        Invoice.subscription_stripe_id == subscription.stripe_id
    )
    query = select(Invoice).where(of_subscription, Invoice.status != "void")
    newest_first = query.order_by(Invoice.created_at.desc(), Invoice.stripe_id)
    return list(db.session.execute(newest_first.limit(LAST_INVOICES)).scalars())


def _take_shares(subscription: Subscription, invoice: Invoice, since: datetime) -> None:
    for paid in _paid_around(subscription, since):
        for start, end in steps(paid):
            share = paid.credits_monthly * _seconds(since, end) // _seconds(start, end)
            if start <= since < end and share:
                _take(subscription, invoice, cause_key(paid.subscription_stripe_id, paid.kind, start), share)
    for lot in _upgrades_around(subscription, since):
        assert lot.expires_at is not None
        share = lot.amount * _seconds(since, lot.expires_at) // _seconds(lot.effective_at, lot.expires_at)
        if share:
            _take(subscription, invoice, lot.cause_key, share)


def _seconds(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())


def _upgrades_around(subscription: Subscription, moment: datetime) -> list[CreditGrant]:
    of_subscription = CreditGrant.cause_key.like(f"upgrade:%:{subscription.stripe_id}:%")
    around = (CreditGrant.effective_at <= moment) & (CreditGrant.expires_at > moment)
    query = select(CreditGrant).where(CreditGrant.team_id == subscription.team_id, of_subscription, around)
    return list(db.session.execute(query.order_by(CreditGrant.id)).scalars())


def _given_back_from(lines: Sequence[dict[str, Any]]) -> datetime | None:
    """The instant from which on the plan's time is given back; None where it is not."""
    given = [line["period_start"] for line in lines if line["amount"] < 0]
    return datetime.fromtimestamp(min(given), UTC) if given else None


def _is_plans(stripe_price_id: str | None) -> bool:
    price = plan_for_stripe_price(stripe_price_id) if stripe_price_id else None
    return price is not None and price.purpose == "plan"


def _paid_around(subscription: Subscription, moment: datetime) -> list[PaidPeriod]:
    around = (PaidPeriod.period_start <= moment) & (PaidPeriod.period_end > moment)
    query = select(PaidPeriod).where(PaidPeriod.subscription_stripe_id == subscription.stripe_id, around)
    return list(db.session.execute(query).scalars())


def _take(subscription: Subscription, invoice: Invoice, lot: str, amount: int) -> None:
    """A month that was never granted has nothing to be taken back."""
    try:
        ledger.reverse(subscription.team_id, lot, amount, f"{CAUSE}:{invoice.stripe_id}:{lot}")
    except ledger.UnknownGrant:
        return
