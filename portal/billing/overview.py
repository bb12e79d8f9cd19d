"""The view model of the billing dashboard: plan, state, invoices, card. Credits are added by the route."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.accounts.models import Team
from portal.billing import next_invoice
from portal.billing.addons import addon_items, counted
from portal.billing.card_words import Card, card_of
from portal.billing.change_rules import CHANGEABLE
from portal.billing.customers import has_customer
from portal.billing.entitlements import effective
from portal.billing.invoice_list import InvoiceRow, recent_invoices, unpaid_invoice
from portal.billing.leave_page import LeaveOptions
from portal.billing.leave_page import options as leave_options
from portal.billing.models import Invoice, Subscription
from portal.billing.pay_now import left_to_pay
from portal.billing.payment_methods import charged_payment_method
from portal.billing.payments import waits_for_bank
from portal.billing.recurring_price import RecurringPrice, price_words, recurring_price
from portal.billing.seats import Seats, seat_items, seats_of
from portal.billing.subscriptions import live_subscription
from portal.catalog.addon_queries import addons_beside
from portal.catalog.queries import free_plan, plan_by_key
from portal.core.money import money_words

STATUS_LABELS = {
    "active": "Active",
    "trialing": "Trial",
    "past_due": "Past due",
    "unpaid": "Unpaid",
    "paused": "Paused",
    "incomplete": "Incomplete",
    "incomplete_expired": "Expired",
    "canceled": "Canceled",
}


@dataclass(frozen=True)
class Banner:
    tone: str
    title: str
    text: str
    action_label: str | None = None
    action_url: str | None = None
    # Whether the card can be changed from here: that is what the banner is about.
    card_helps: bool = False
    # The open invoice that can be charged from here.
    pay_invoice_id: str | None = None


@dataclass(frozen=True)
class Planned:
    """The plan that comes when the period ends."""

    plan_name: str
    interval: str
    at: datetime


@dataclass(frozen=True)
class PlanLine:
    """What a part of the plan costs. `every` is told where it is paid less often than the plan."""

    label: str
    cents: int
    every: str = ""


@dataclass(frozen=True)
class Overview:
    plan_name: str
    status: str | None
    status_label: str | None
    price_cents: int | None
    interval: str | None
    currency: str
    trial_ends_at: datetime | None
    period_start: datetime | None
    period_end: datetime | None
    next_invoice_at: datetime | None
    cancels_at: datetime | None
    lines: list[PlanLine]
    sells_addons: bool
    seats: Seats
    planned: Planned | None
    invoices: list[InvoiceRow]
    payment_method: Card | None
    billing_email: str
    may_buy: bool
    may_manage: bool
    may_change: bool
    leave: LeaveOptions
    frozen: bool
    state_words: str | None
    banner: Banner | None
    credits: Any


def build(team: Team, *, may_buy: bool, may_manage: bool, may_change: bool, credit_summary: Any) -> Overview:
    subscription = live_subscription(team.id)
    plan = plan_by_key(subscription.plan_key) if subscription and subscription.plan_key else None
    if subscription is None:
        plan = free_plan()
    price = recurring_price(subscription) if subscription else None
    frozen = effective(team.id).credits_frozen
    name = plan.name if plan else ("A plan of its own" if subscription else "No plan")
    return Overview(
        plan_name=name,
        status=subscription.status if subscription else None,
        status_label=_status_label(subscription),
        price_cents=price.cents if price else None,
        interval=subscription.interval if subscription else None,
        currency=subscription.currency if subscription else team.currency,
        trial_ends_at=subscription.trial_end if subscription and subscription.status == "trialing" else None,
        period_start=subscription.current_period_start if subscription else None,
        period_end=subscription.current_period_end if subscription else None,
        next_invoice_at=next_invoice.comes_at(subscription) if subscription else None,
        cancels_at=subscription.cancel_at if subscription else None,
        lines=_lines(subscription, name),
        sells_addons=subscription is not None and _sells_addons(subscription),
        seats=seats_of(team.id),
        planned=_planned(subscription),
        invoices=recent_invoices(team.id),
        payment_method=card_of(charged_payment_method(team.id)),
        billing_email=team.billing_email,
        may_buy=may_buy,
        may_manage=may_manage and has_customer(team.id),
        may_change=may_change and _is_changeable(subscription),
        leave=leave_options(subscription, allowed=may_change),
        frozen=frozen,
        state_words=_state_words(subscription),
        banner=_banner(subscription, name, price, unpaid_invoice(team.id), frozen=frozen),
        credits=credit_summary,
    )


def plan_name_of(team_id: str) -> str:
    """What the team is on, for the switcher: the live subscription's plan, else the free one."""
    subscription = live_subscription(team_id)
    plan = plan_by_key(subscription.plan_key or "") if subscription else free_plan()
    return plan.name if plan else ""


def _status_label(subscription: Subscription | None) -> str | None:
    if subscription is None:
        return None
    ends = subscription.cancel_at is not None and subscription.status in ("active", "trialing")
    return "Ending" if ends else STATUS_LABELS.get(subscription.status, subscription.status)


def _state_words(subscription: Subscription | None) -> str | None:
    """What a state means for the team, where its name alone does not say."""
    if subscription is None:
        return None
    if subscription.status == "paused":
        return "Nothing is charged and no credits are added while the plan is paused."
    if subscription.status == "past_due":
        return "The plan stays on while Stripe tries again. New plan credits come once the open invoice is paid."
    if subscription.status == "unpaid":
        return "Stripe has stopped trying. The plan goes on once the open invoice is paid."
    if subscription.cancel_at is not None:
        return "Until then everything stays as it is, and nothing more is charged for the plan."
    return None


def _sells_addons(subscription: Subscription) -> bool:
    return bool(addons_beside(subscription.plan_key or "", subscription.interval or "") or addon_items(subscription))


def _planned(subscription: Subscription | None) -> Planned | None:
    if subscription is None or subscription.scheduled_at is None:
        return None
    plan = plan_by_key(subscription.scheduled_plan_key or "")
    return Planned(plan.name if plan else "", subscription.scheduled_interval or "", subscription.scheduled_at)


def _is_changeable(subscription: Subscription | None) -> bool:
    return (
        subscription is not None
        and subscription.plan_key is not None
        and subscription.status in CHANGEABLE
        and subscription.cancel_at is None
    )


def _lines(subscription: Subscription | None, plan_name: str) -> list[PlanLine]:
    if subscription is None or subscription.unit_amount is None:
        return []
    every = "yearly" if subscription.interval == "year" else "monthly"
    seats = seat_items(subscription)
    extra = [PlanLine(f"{number:,} extra seat{'' if number == 1 else 's'}", number * cents) for number, cents in seats]
    addons = [
        PlanLine(
            counted(price.name, number),
            number * price.unit_amount_cents,
            "" if price.interval == subscription.interval else "a year",
        )
        for price, number in addon_items(subscription)
    ]
    return [PlanLine(f"{plan_name}, {every}", subscription.unit_amount), *extra, *addons]


def _banner(
    subscription: Subscription | None,
    plan_name: str,
    price: RecurringPrice | None,
    unpaid: Invoice | None,
    *,
    frozen: bool,
) -> Banner | None:
    """At most one thing that a person should know before anything else on the page."""
    if subscription is None or price is None:
        return None
    if subscription.status in ("past_due", "unpaid"):
        return _unpaid_banner(unpaid, money_words(price.cents, price.currency))
    if subscription.status == "paused":
        return Banner(
            "warn",
            f"{plan_name} is paused",
            "Nothing is charged and no credits are added until it goes on. "
            + ("The team's credits are frozen until then." if frozen else "What the team has stays usable."),
        )
    if subscription.status == "trialing" and subscription.trial_end is not None and subscription.cancel_at is None:
        ends = subscription.trial_end
        return Banner(
            "info",
            f"Your trial of {plan_name} ends on {ends.day} {ends:%b %Y, %H:%M} UTC",
            f"Then {plan_name} costs {price_words(price)}, charged to the card below. Nothing is charged before.",
        )
    return None


def _unpaid_banner(unpaid: Invoice | None, price: str) -> Banner:
    amount = money_words(left_to_pay(unpaid), unpaid.currency) if unpaid else price
    if unpaid is not None and unpaid.hosted_invoice_url and waits_for_bank(unpaid.stripe_id):
        return Banner(
            "warn",
            f"Your bank wants you to confirm {amount}",
            "Nothing has been charged so far, and the plan stays on for now. Confirm the payment on Stripe's page.",
            "Confirm the payment",
            unpaid.hosted_invoice_url,
        )
    return Banner(
        "bad",
        f"Your payment of {amount} did not go through",
        "The bank declined the card. Nothing was charged. Give another card, or have this one charged again.",
        card_helps=True,
        pay_invoice_id=unpaid.id if unpaid else None,
    )
