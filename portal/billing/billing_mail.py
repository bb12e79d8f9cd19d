"""News about money, once for each fact, to whoever looks after the team's billing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from portal.accounts.models import Team
from portal.billing.change_models import LEAVE_KINDS, ChangePreview, PendingChange
from portal.billing.models import Invoice, Subscription
from portal.billing.recurring_price import price_words, recurring_price
from portal.catalog.addon_queries import addon_name
from portal.catalog.queries import plan_by_key
from portal.core import clock
from portal.core.addresses import own_address
from portal.core.database import db
from portal.core.money import money_words
from portal.core.times import day_words, moment_words
from portal.notifications import messages
from portal.notifications.messages import Message
from portal.notifications.notify import notify_team

NEEDS_ACTION = "payment_action_required"
PAID_LATELY = timedelta(days=3)


def tell_of_trial_end(subscription: Subscription) -> None:
    """Once a trial, while it is one: what will be charged, and when. An event that comes late says nothing any more."""
    if subscription.status != "trialing" or subscription.trial_end is None or subscription.duplicate:
        return
    plan = plan_by_key(subscription.plan_key or "")
    ends = moment_words(subscription.trial_end, team_zone(subscription.team_id))
    costs = recurring_price(subscription)
    price = price_words(costs) if costs else ""
    link = own_address("billing.overview", team_id=subscription.team_id)
    fact = f"trial_will_end:{subscription.stripe_id}:{int(subscription.trial_end.timestamp())}"
    plan_name, ending = plan.name if plan else "your plan", subscription.cancel_at is not None
    tell(
        subscription.team_id,
        fact,
        lambda to: messages.trial_will_end(to, plan_name=plan_name, ends=ends, price=price, ending=ending, link=link),
    )


def tell_of_needed_action(invoice: Invoice) -> None:
    """Once an invoice, while it is open: the bank wants the buyer to confirm the payment, on Stripe's page."""
    if invoice.status != "open" or not invoice.hosted_invoice_url:
        return
    amount = money_words(invoice.amount_due, invoice.currency)
    number, address = invoice.number or "", invoice.hosted_invoice_url
    tell(
        invoice.team_id,
        f"{NEEDS_ACTION}:{invoice.stripe_id}",
        lambda to: messages.payment_action_required(to, amount=amount, number=number, link=address),
    )


def tell_of_paid_invoice(invoice: Invoice) -> None:
    """Once an invoice, when it is paid and money was paid for it. What was paid long ago is no news."""
    if invoice.status != "paid" or invoice.amount_paid <= 0 or invoice.paid_at is None:
        return
    if invoice.paid_at < clock.now() - PAID_LATELY:
        return
    values = {
        "amount": money_words(invoice.amount_paid, invoice.currency),
        "number": invoice.number or "",
        "description": invoice.description,
        "day": day_words(invoice.paid_at, team_zone(invoice.team_id)),
        "link": invoice_page(invoice),
    }
    tell(invoice.team_id, f"invoice_paid:{invoice.stripe_id}", lambda to: messages.invoice_paid(to, **values))


def invoice_page(invoice: Invoice) -> str:
    """Where an invoice can be seen and paid."""
    return own_address("billing.invoice", team_id=invoice.team_id, invoice_id=invoice.id)


def tell_of_change(change: PendingChange, preview: ChangePreview) -> None:
    """Once a change: what it is, when it applies and what was charged. One that was taken back needs no mail, and leaving
    is told of by whoever sees it happen, since it also happens elsewhere (`leave_mail.py`).
    """
    if preview.kind in ("undo", *LEAVE_KINDS):
        return
    plan = plan_by_key(preview.plan_key)
    common = {
        "plan_name": plan.name if plan else "your plan",
        "charged": money_words(preview.amount_due, preview.currency) if preview.amount_due else "",
        "link": own_address("billing.overview", team_id=preview.team_id),
    }
    every = "yearly" if preview.interval == "year" else "monthly"
    from_when = "" if preview.timing == "now" else _next_period(preview)

    def message(to: str) -> Message:
        if preview.kind == "addon":
            addon, quantity = addon_name(preview.addon_key or ""), preview.addon_quantity or 0
            return messages.addons_changed(to, addon=addon, quantity=quantity, **common)
        if preview.kind == "seats":
            return messages.seats_changed(to, seats=preview.seats, **common)
        return messages.plan_changed(to, every=every, from_when=from_when, **common)

    tell(preview.team_id, f"changed:{change.id}", message)


def _next_period(preview: ChangePreview) -> str:
    return day_words(datetime.fromtimestamp(preview.shown["next_at"], UTC), team_zone(preview.team_id))


def tell(team_id: str, fact: str, message: Callable[[str], Message]) -> None:
    """Tell the team in the current unit, by mail and in the inbox; the same `fact` twice is told once."""
    notify_team(team_id, fact, message)


def team_zone(team_id: str) -> str:
    return db.session.execute(select(Team.time_zone).where(Team.id == team_id)).scalar_one()
