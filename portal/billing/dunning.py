"""A renewal that could not be charged: mails on the catalog's days until it is paid or Stripe gives up, and what came of it.

Stripe tries again by itself, on days that are set in its account. Each mail is a fact of an invoice and a day, put into
the outbox once; of days that nobody looked on (no worker ran) only the last one is told.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import exists, or_, select

from portal.billing.billing_mail import NEEDS_ACTION, invoice_page, team_zone, tell, tell_of_needed_action
from portal.billing.card_words import Card, card_of
from portal.billing.models import Invoice, PaymentMethod, Subscription
from portal.billing.payment_methods import charged_payment_method
from portal.billing.payments import waits_for_bank
from portal.catalog.current import catalog
from portal.catalog.queries import plan_by_key
from portal.core import clock
from portal.core.addresses import own_address
from portal.core.database import db
from portal.core.money import money_words
from portal.core.times import day_words
from portal.notifications import messages
from portal.notifications.models import OutboxItem

FAILED, GIVEN_UP = "payment_failed", "payment_given_up"
# Nobody is reminded of an invoice that is older than Stripe's longest schedule of retries.
OLDEST = timedelta(days=70)
# The first invoice of a plan is paid on Stripe's page, and that of a change while somebody waits for it: whoever pays
# those sees what goes wrong.
RENEWALS = ("subscription_cycle", "subscription_threshold")
# Unless the plan has begun by itself, by a schedule that was made at Stripe: then it is never incomplete, and owes.
FIRST, OWES = "subscription_create", ("past_due", "unpaid", "canceled")
# A card is told of once, in the month it ends in or the one before.
EXPIRING_WITHIN = timedelta(days=31)


# Renewals that were asked for in vain and are still to be paid, or were given up.
FAILING = (
    select(Invoice.id, Subscription)
    .outerjoin(Subscription, Subscription.stripe_id == Invoice.subscription_stripe_id)
    .where(
        Invoice.status.in_(("open", "uncollectible")),
        Invoice.attempt_count > 0,
        Invoice.finalized_at.is_not(None),
        Invoice.subscription_stripe_id.is_not(None),
        Invoice.billing_reason.in_(RENEWALS) | ((Invoice.billing_reason == FIRST) & Subscription.status.in_(OWES)),
    )
)


def failing_invoices() -> list[str]:
    """The ids of renewals that were asked for in vain, unless that was very long ago."""
    lately = FAILING.where(Invoice.finalized_at > clock.now() - OLDEST).order_by(Invoice.finalized_at)
    return list(db.session.execute(lately).scalars())


def tell_of_failure(invoice: Invoice) -> None:
    """Put the mail of the last day that has come, or say that the plan is over; nothing that was told before."""
    found = db.session.execute(FAILING.where(Invoice.id == invoice.id)).one_or_none()
    if found is None:
        return
    _, subscription = found
    if subscription is not None and subscription.status in ("canceled", "unpaid"):
        if _was_told(invoice):
            _tell_given_up(invoice, subscription)
        return
    assert invoice.finalized_at is not None
    passed = [day for day in catalog().dunning_days if invoice.finalized_at + timedelta(days=day) <= clock.now()]
    if passed and invoice.status == "open":
        if passed[-1] == passed[0] and waits_for_bank(invoice.stripe_id):
            tell_of_needed_action(invoice)  # nothing was refused: the first mail is about the bank's question
        else:
            _tell_failed(invoice, subscription, passed[-1])


def tell_of_recovery(invoice: Invoice) -> bool:
    """Once: what was told of as failed, or as waiting for the bank, is paid. Whether that is so."""
    if invoice.status != "paid" or not _was_told(invoice):
        return False
    amount, number = money_words(invoice.amount_paid, invoice.currency), invoice.number or ""
    link = invoice_page(invoice)
    tell(
        invoice.team_id,
        f"payment_recovered:{invoice.stripe_id}",
        lambda to: messages.payment_recovered(to, amount=amount, number=number, link=link),
    )
    return True


def teams_with_ending_cards() -> list[str]:
    """The teams that will be charged again and have a card that ends soon, which may be the one that is charged."""
    first, last = _months_that_are_soon()
    query = (
        select(Subscription.team_id)
        .distinct()
        .join(PaymentMethod, PaymentMethod.team_id == Subscription.team_id)
        .where(
            Subscription.status.in_(("active", "trialing", "past_due")),
            Subscription.duplicate.is_(False),
            Subscription.cancel_at.is_(None),
            PaymentMethod.detached.is_(False),
            (PaymentMethod.exp_year * 12 + PaymentMethod.exp_month).between(first, last),
        )
    )
    return list(db.session.execute(query).scalars())


def tell_of_expiring_card(team_id: str) -> None:
    """Once for a card and its last month: it cannot pay the plan for much longer."""
    method = charged_payment_method(team_id)
    card = card_of(method)
    if method is None or card is None or not _ends_soon(card):
        return
    link = own_address("billing.overview", team_id=team_id)
    ends = f"{method.exp_month:02}/{method.exp_year}"
    tell(
        team_id,
        f"card_expiring:{method.stripe_id}:{method.exp_year}-{method.exp_month}",
        lambda to: messages.card_expiring(to, card=f"{card.brand_label} •••• {card.last4}", ends=ends, link=link),
    )


def _months_that_are_soon() -> tuple[int, int]:
    """The first and the last month, counted from the year 0. A card works until the end of the month it names."""
    now = clock.now()
    soon = now + EXPIRING_WITHIN
    return now.year * 12 + now.month, soon.year * 12 + soon.month


def _ends_soon(card: Card) -> bool:
    first, last = _months_that_are_soon()
    return first <= card.exp_year * 12 + card.exp_month <= last


def _was_told(invoice: Invoice) -> bool:
    """Whether a renewal was told of as failed, or as waiting for the bank."""
    told = [
        exists().where(OutboxItem.dedupe_key.startswith(f"{kind}:{invoice.stripe_id}:", autoescape=True))
        for kind in ((FAILED, NEEDS_ACTION) if invoice.billing_reason in RENEWALS else (FAILED,))
    ]
    return bool(db.session.execute(select(or_(*told))).scalar())


def _tell_failed(invoice: Invoice, subscription: Subscription | None, day: int) -> None:
    days = catalog().dunning_days
    values: dict[str, Any] = {
        "amount": money_words(invoice.amount_due, invoice.currency),
        "plan_name": _plan_name(subscription),
        "next_try": day_words(invoice.next_payment_attempt, team_zone(invoice.team_id))
        if invoice.next_payment_attempt
        else "",
        "first": day == days[0],
        "last": day == days[-1],
        "link": invoice_page(invoice),
    }
    tell(invoice.team_id, f"{FAILED}:{invoice.stripe_id}:{day}", lambda to: messages.payment_failed(to, **values))


def _tell_given_up(invoice: Invoice, subscription: Subscription) -> None:
    ended = subscription.status == "canceled"
    amount, plan_name = money_words(invoice.amount_due, invoice.currency), _plan_name(subscription)
    link = (
        own_address("catalog.pricing", team=invoice.team_id)
        if ended
        else invoice.hosted_invoice_url or invoice_page(invoice)
    )
    tell(
        invoice.team_id,
        f"{GIVEN_UP}:{invoice.stripe_id}",
        lambda to: messages.payment_given_up(to, amount=amount, plan_name=plan_name, ended=ended, link=link),
    )


def _plan_name(subscription: Subscription | None) -> str:
    plan = plan_by_key(subscription.plan_key) if subscription and subscription.plan_key else None
    return plan.name if plan else "your plan"
