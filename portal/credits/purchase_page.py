"""What the page of auto-purchase says: how it stands, what it may charge, what it has bought so far and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.accounts.models import Team, User
from portal.billing.card_words import Card, card_of
from portal.billing.dispute_words import dispute_words
from portal.billing.disputes import disputes_of
from portal.billing.hosted_pages import is_hosted
from portal.billing.models import Payment
from portal.catalog.current import catalog
from portal.core import clock
from portal.core.database import db
from portal.core.money import money_words
from portal.core.times import moment_words
from portal.credits import purchase_rules
from portal.credits.auto_purchase import bought
from portal.credits.purchase_models import OPEN_STATES, AutoPurchaseConsent, AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_size import Bought
from portal.credits.purchase_standing import state_of
from portal.credits.purchase_words import canceled_words, failure_words, stop_words

ROWS_MAX = 20
STATES = {
    "pending": ("Begun", "warn"),
    "charging": ("Being charged", "warn"),
    "unknown": ("Waits for Stripe", "warn"),
    "requires_action": ("Waits for you", "warn"),
    "granted": ("Bought", "ok"),
    "failed": ("Failed", "bad"),
    "canceled": ("Not charged", "idle"),
}
# What helps a rule that was stopped, where it is not both another card and turning it on again.
WAYS_OUT = {
    "no_card": "card",
    "price_changed": None,
    "not_allowed": "arm",
    "not_offered": "arm",
    "refunded": "arm",
    "disputed": "arm",
}

# A label, how serious it looks, and a sentence.
Words = tuple[str, str, str]


@dataclass(frozen=True)
class Notice:
    """What somebody should know first. `action` is the way out: `card`, `arm`, `both`, `hurry`, `confirm`, `plans`,
    or none.

    `kind` names it for whoever looks again; while one is `awaited` the page asks again by itself.
    """

    kind: str
    tone: str
    title: str
    text: str
    action: str | None = None
    url: str | None = None
    awaited: bool = False


@dataclass(frozen=True)
class Row:
    """One purchase; the amount is in the minor unit. `payment_id` is our id of what it can be taken apart by."""

    at: datetime
    credits: int
    amount: int
    currency: str
    state_label: str
    tone: str
    reason: str | None
    payment_id: str | None
    receipt_url: str | None


@dataclass(frozen=True)
class Agreed:
    """What was agreed to: by whom and when, and the words of then."""

    person: str
    at: datetime
    text_version: int
    lines: list[str]


@dataclass(frozen=True)
class AutoPurchasePage:
    """`offered`: the team may have it; `state` is off, on, stopped, capped or paused."""

    offered: bool
    rule: AutoPurchaseRule | None
    state: str
    card: Card | None
    agreed: Agreed | None
    bought: Bought
    currency: str
    rows: list[Row]


def build(team: Team) -> AutoPurchasePage:
    """The whole page, as things stand."""
    rule = purchase_rules.rule_of(team.id)
    rows = _rows(team.id)
    return AutoPurchasePage(
        offered=purchase_rules.is_offered(team.id),
        rule=rule,
        state=state_of(rule),
        card=card_of(purchase_rules.card_to_charge(team.id)),
        agreed=_agreed(rule),
        bought=bought(team.id, clock.now()),
        currency=catalog().currency,
        rows=rows,
    )


def notice(team: Team, zone: str) -> Notice | None:
    """What is under way, or stands in the way: a purchase that was begun goes on without the plan it was begun with."""
    rule, newest = purchase_rules.rule_of(team.id), _newest(team.id)
    if newest is not None and newest.state in OPEN_STATES:
        put_off = newest.state == "pending" and rule is not None and purchase_rules.backs_off(rule)
        return _put_off(newest, zone) if put_off else _under_way(newest)
    if (reason := purchase_rules.why_not_offered(team.id)) is not None:
        return _not_offered(reason)
    return _off(team.id) if rule is None or not rule.enabled else _of_rule(rule, zone)


def _off(team_id: str) -> Notice | None:
    if purchase_rules.card_to_charge(team_id) is not None:
        return None
    text = "Auto-purchase charges a saved card, and the team has none yet. Save one, then turn it on."
    return Notice("no_card", "info", "There is no saved card", text, "card")


def _of_rule(rule: AutoPurchaseRule, zone: str) -> Notice | None:
    if rule.paused_at is not None:
        text = "Nothing is bought by itself at the moment. Your settings are kept; ask us if you want to know more."
        return Notice("paused", "warn", "We have paused auto-purchase", text)
    if rule.capped_until is not None:
        return _capped(rule, rule.capped_until, zone)
    return _stopped(str(rule.reason)) if rule.state == "stopped" else None


def _not_offered(reason: str) -> Notice:
    if reason == "not_offered":
        text = "There is nothing that could be bought by itself at the moment. Credits can be bought by hand where they are sold."
        return Notice("nothing", "info", "Auto-purchase is not offered", text)
    text = "The plan of this team does not include it. With a larger one, credits buy themselves before they run out."
    return Notice("plan", "info", "Auto-purchase comes with larger plans", text, "plans")


def _under_way(row: PurchaseIntent) -> Notice:
    amount, what = money_words(row.amount, row.currency), f"{row.credits:,} credits"
    if row.state == "requires_action":
        text = f"It is for {what}. Nothing has been charged so far. Unless it is confirmed within 24 hours, nothing is."
        url = row.confirm_url if row.confirm_url and is_hosted(row.confirm_url) else None
        return Notice("confirm", "warn", f"Your bank wants you to confirm {amount}", text, "confirm", url, awaited=True)
    text = "You need not do anything: it is charged once or not at all, and this page shows what came of it."
    return Notice("charging", "info", f"{what} are being bought for {amount}", text, awaited=True)


def _put_off(row: PurchaseIntent, zone: str) -> Notice:
    amount, when = money_words(row.amount, row.currency), moment_words(row.run_at, zone)
    text = "The card before this one was refused, so that this one is given an hour. You can also have it charged now."
    return Notice(
        "waits", "info", f"{row.credits:,} credits are bought for {amount} at {when}", text, "hurry", awaited=True
    )


def _stopped(reason: str) -> Notice:
    happened, way_out = stop_words(reason)
    action = WAYS_OUT.get(reason, "both")
    return Notice("stopped", "bad", "Auto-purchase has stopped", f"{happened} {way_out}", action)


def _capped(rule: AutoPurchaseRule, until: datetime, zone: str) -> Notice:
    words = moment_words(until, zone)
    text = f"Nothing more is bought by itself until {words}. Raise the limit below, or buy credits by hand."
    return Notice("capped", "warn", f"The limit of the {rule.reason} is reached", text)


def _newest(team_id: str) -> PurchaseIntent | None:
    query = select(PurchaseIntent).where(PurchaseIntent.team_id == team_id).order_by(PurchaseIntent.created_at.desc())
    return db.session.execute(query.limit(1), execution_options={"populate_existing": True}).scalar_one_or_none()


def _agreed(rule: AutoPurchaseRule | None) -> Agreed | None:
    if rule is None:
        return None
    query = select(AutoPurchaseConsent, User).join(User, User.id == AutoPurchaseConsent.user_id)
    consent, person = db.session.execute(query.where(AutoPurchaseConsent.id == rule.consent_id)).one()
    return Agreed(person.display_name, consent.at, consent.text_version, consent.words.split("\n"))


def _rows(team_id: str) -> list[Row]:
    query = (
        select(PurchaseIntent, Payment)
        .outerjoin(Payment, Payment.stripe_id == PurchaseIntent.payment_intent_stripe_id)
        .where(PurchaseIntent.team_id == team_id)
        .order_by(PurchaseIntent.created_at.desc(), PurchaseIntent.id.desc())
        .limit(ROWS_MAX)
    )
    found = list(db.session.execute(query))
    undone = _undone([payment for _row, payment in found if payment is not None])
    return [_row(row, payment, undone) for row, payment in found]


def _undone(payments: list[Payment]) -> dict[str, Words]:
    """What became of payments that went back or may, by their ids at Stripe: a refund, or what the bank has to say."""
    words: dict[str, Words] = {}
    for payment in payments:
        if payment.amount_refunded:
            label = "Refunded" if payment.amount_refunded >= payment.amount else "Partly refunded"
            back = f"{money_words(payment.amount_refunded, payment.currency)} of it was refunded."
            words[payment.stripe_id] = label, "idle", back
    for dispute in disputes_of([payment.stripe_id for payment in payments]):
        if dispute.open or dispute.lost:
            words[str(dispute.payment_intent_stripe_id)] = dispute_words(dispute)
    return words


def _row(row: PurchaseIntent, payment: Payment | None, undone: Mapping[str, Words]) -> Row:
    label, tone = STATES[row.state]
    reason = {
        "failed": failure_words(row.failure_code or ""),
        "canceled": canceled_words(row.failure_code),
    }.get(row.state)
    if row.state == "granted" and payment is not None and payment.stripe_id in undone:
        label, tone, reason = undone[payment.stripe_id]
    return Row(
        at=row.created_at,
        credits=row.credits,
        amount=row.amount,
        currency=row.currency,
        state_label=label,
        tone=tone,
        reason=reason,
        payment_id=payment.id if payment is not None else None,
        receipt_url=payment.receipt_url if payment is not None else None,
    )
