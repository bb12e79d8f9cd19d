"""Credits of a subscription: granted for periods that an invoice has paid for, once each.

The key of a grant names the business fact (subscription, kind, start), so that several events about one payment, in
any order and number, grant once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import exists, func, select, update

from portal.billing.models import Invoice, PaidPeriod, Subscription
from portal.billing.paid_changes import period_of, record_paid_changes
from portal.billing.paid_periods import record_paid_periods
from portal.catalog.queries import plan_by_key
from portal.core import clock
from portal.core.clock import app_now
from portal.core.database import db
from portal.credits import ledger
from portal.credits.free_plan import end_free_grants, look_again
from portal.credits.given_back import take_back_given
from portal.credits.plan_months import cause_key, steps
from portal.credits.undo import undo_invoice
from portal.credits.upgrades import settle_upgrades


def grant_for_invoices(subscription: Subscription, invoices: Iterable[Invoice]) -> None:
    """Grant what these invoices of the subscription have paid for. A duplicate subscription is granted nothing."""
    if subscription.duplicate:
        return
    for invoice in invoices:
        for paid in record_paid_periods(subscription, invoice):
            grant_paid_period(paid, clock.now(), subscription.ended_at)
        for change in record_paid_changes(subscription, invoice)[:1]:
            if (period := period_of(change)) is not None:
                _grant_upgrades(period, clock.now(), subscription.ended_at)
    take_back_given(subscription)
    if not subscription.live:
        look_again(subscription.team_id)


def grant_paid_period(paid: PaidPeriod, now: datetime, ended_at: datetime | None = None) -> int:
    """Grant what a paid period gives up to `now`; returns how many grants were new.

    A trial and a month are one grant each, given when it is paid, even if that is before its start (the ledger waits
    for it). A year is twelve, a month apart, counted from its start: the first likewise, each other when it begins,
    unless the subscription had ended by then, or another period had taken the year's place. Months that had begun when
    their payment became known are granted also if they are over: they end at once, repay what is owed, and what was paid
    for is found in the ledger. Later ones that went by without a grant, as in a pause, are left out.
    """
    granted, current, upcoming = 0, False, None
    over = _over_at(paid, ended_at)
    for start, end in steps(paid):
        if not paid.credits_monthly or (over is not None and start >= over):
            break
        if start > max(now, paid.period_start):
            upcoming = start
            break
        if (end > now or start <= paid.created_at) and _grant(paid, start, end):
            granted, current = granted + 1, current or end > now
    if current:
        end_free_grants(paid.team_id)
    if granted:
        # What was refunded or disputed before it was granted is undone at once: a year's later months, and news out of order.
        undo_invoice(paid.team_id, paid.invoice_stripe_id)
    granted += _grant_upgrades(paid, now, ended_at)
    this = (PaidPeriod.id == paid.id) & PaidPeriod.next_grant_at.is_distinct_from(upcoming)
    db.session.execute(update(PaidPeriod).where(this).values(next_grant_at=upcoming))
    return granted


def _over_at(paid: PaidPeriod, ended_at: datetime | None) -> datetime | None:
    """When a paid period was over before its time: its subscription ended, or another period of that began within this one.

    Stripe has given back what was left of it then.
    """
    within = (PaidPeriod.period_start > paid.period_start) & (PaidPeriod.period_start < paid.period_end)
    of_it = PaidPeriod.subscription_stripe_id == paid.subscription_stripe_id
    replaced_at = db.session.execute(select(func.min(PaidPeriod.period_start)).where(of_it, within)).scalar()
    return min(filter(None, (ended_at, replaced_at)), default=None)


def _grant_upgrades(paid: PaidPeriod, now: datetime, ended_at: datetime | None) -> int:
    """What changes of plan add to the months that have begun; returns how many grants were new."""
    invoices = settle_upgrades(paid, now, _over_at(paid, ended_at))
    for invoice_stripe_id in dict.fromkeys(invoices):
        undo_invoice(paid.team_id, invoice_stripe_id)
    return len(invoices)


def _grant(paid: PaidPeriod, start: datetime, end: datetime) -> bool:
    plan = plan_by_key(paid.plan_key)
    name = plan.name if plan else paid.plan_key
    return ledger.grant(
        paid.team_id,
        kind="subscription",
        amount=paid.credits_monthly,
        cause_key=cause_key(paid.subscription_stripe_id, paid.kind, start),
        source=f"{name}, trial" if paid.kind == "trial" else name,
        effective_at=start,
        expires_at=end,
    )


def due_paid_periods(limit: int) -> list[PaidPeriod]:
    """Paid periods of which a further month has begun, the longest due first. While a plan is paused they wait."""
    due = PaidPeriod.next_grant_at <= app_now()
    paused = exists().where(
        Subscription.stripe_id == PaidPeriod.subscription_stripe_id, Subscription.status == "paused"
    )
    query = select(PaidPeriod).where(due, ~paused).order_by(PaidPeriod.next_grant_at, PaidPeriod.id).limit(limit)
    return list(db.session.execute(query).scalars())


def grant_due_month(paid: PaidPeriod, now: datetime) -> int:
    """`grant_paid_period` for the schedule, which has to look whether the subscription still lives."""
    query = select(Subscription.ended_at).where(Subscription.stripe_id == paid.subscription_stripe_id)
    return grant_paid_period(paid, now, db.session.execute(query).scalar())
