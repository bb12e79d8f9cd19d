"""News of auto-purchase to whoever looks after the team's billing, once for each fact."""

from __future__ import annotations

from datetime import datetime

from portal.billing.billing_mail import team_zone, tell
from portal.billing.card_words import brand_label
from portal.billing.models import Payment, PaymentMethod
from portal.core.addresses import own_address
from portal.core.money import money_words
from portal.core.times import day_words, moment_words
from portal.credits.purchase_models import AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_terms import Terms, terms_words
from portal.credits.purchase_words import OTHER_CARD, failure_words, stop_words
from portal.notifications import messages


def tell_of_consent(team_id: str, consent_id: str, terms: Terms, card: PaymentMethod, *, changed: bool) -> None:
    """What is charged from now on without asking: before the first purchase, and whenever the terms change."""
    words, name, link = terms_words(terms), card_name(card.brand, card.last4), page_of(team_id)
    tell(
        team_id,
        f"auto_purchase_on:{consent_id}",
        lambda to: messages.auto_purchase_on(to, terms=words, card=name, changed=changed, link=link),
    )


def tell_of_purchase(row: PurchaseIntent, payment: Payment) -> None:
    """Once a purchase, with its receipt."""
    values = {
        "amount": money_words(row.amount, row.currency),
        "card": card_name(payment.brand, payment.last4),
        "day": day_words(payment.occurred_at, team_zone(row.team_id)),
        "receipt": payment.receipt_url or "",
        "link": page_of(row.team_id),
    }
    tell(
        row.team_id,
        f"auto_purchase_made:{row.id}",
        lambda to: messages.auto_purchase_made(to, granted=row.credits, **values),
    )


def tell_of_question(row: PurchaseIntent) -> None:
    """Once a purchase: the bank wants to ask the card's holder."""
    amount, granted, link = money_words(row.amount, row.currency), row.credits, page_of(row.team_id)
    tell(
        row.team_id,
        f"auto_purchase_confirm:{row.id}",
        lambda to: messages.auto_purchase_confirm(to, amount=amount, granted=granted, link=link),
    )


def tell_of_failure(row: PurchaseIntent, code: str, waits_for: str | None) -> None:
    """Once a purchase that has failed, which has stopped the rule, unless it `waits_for` a person for another reason already."""
    way_out = OTHER_CARD if waits_for is None else " ".join(stop_words(waits_for))
    _tell_stopped(
        row.team_id, f"failed:{row.id}", money_words(row.amount, row.currency), (failure_words(code), way_out)
    )


def tell_of_stop(rule: AutoPurchaseRule, reason: str) -> None:
    """Once an arming and reason: it was stopped without a charge."""
    _tell_stopped(rule.team_id, f"stopped:{rule.team_id}:{rule.arming}:{reason}", "", stop_words(reason))


def _tell_stopped(team_id: str, fact: str, amount: str, words: tuple[str, str]) -> None:
    (happened, way_out), link = words, page_of(team_id)
    tell(
        team_id,
        f"auto_purchase_{fact}",
        lambda to: messages.auto_purchase_stopped(to, amount=amount, happened=happened, way_out=way_out, link=link),
    )


def tell_of_cap(rule: AutoPurchaseRule, limit: str, until: datetime) -> None:
    """Once a day or month: its limit leaves no further purchase."""
    words, link = moment_words(until, team_zone(rule.team_id)), page_of(rule.team_id)
    tell(
        rule.team_id,
        f"auto_purchase_capped:{rule.team_id}:{limit}:{until:%Y-%m-%d}",
        lambda to: messages.auto_purchase_capped(to, limit=limit, until=words, link=link),
    )


def card_name(brand: str | None, last4: str | None) -> str:
    """A card as its owner recognises it, in a sentence."""
    return f"the {brand_label(brand)} ending in {last4}" if last4 else "the saved card"


def page_of(team_id: str) -> str:
    """Where auto-purchase is seen and set."""
    return own_address("credits.auto_purchase", team_id=team_id)
