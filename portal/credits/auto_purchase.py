"""Beginning an auto-purchase: in the unit of the spend that made it necessary, once for all who spend at the same time.

Nothing is charged here. What is to be charged is frozen in a purchase intent; the worker does it (`purchase_work.py`).
Once it is written the account has no threshold any more until it has ended, so that no later spend begins another one,
or even looks; the database allows one that is open in any case.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts import audit
from portal.accounts.audit import Actor
from portal.billing.entitlements import effective
from portal.billing.models import Customer, Payment, PaymentMethod
from portal.catalog.queries import BundlePrice
from portal.core import jobs
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.times import month_start
from portal.core.unit_of_work import after_commit
from portal.credits import ledger, purchase_news, purchase_rules
from portal.credits.book import Book
from portal.credits.errors import InsufficientCredits
from portal.credits.purchase_models import OPEN_STATES, AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_rules import RuleRefused
from portal.credits.purchase_size import Bought, Limits, day_start, size
from portal.credits.storage import locked_book


def intend_if_crossed(team_id: str, *, needs_purchase: bool) -> None:
    """Begin a purchase, in the current unit, when a spend has left fewer credits than the threshold (`Spent` says so)."""
    if needs_purchase:
        _intend(team_id, "threshold")


def intend_for_refused(team_id: str, refused: InsufficientCredits) -> None:
    """Begin a purchase, in the current unit, because a spend was refused.

    The unit of a refused spend leaves nothing behind: call this in another one, or where what is written stays.
    """
    if refused.buys:
        _intend(team_id, "refused", cost=refused.cost)


def intend_if_low(team_id: str) -> bool:
    """The same for a balance that fell, or a rule that was armed, without a spend; whether one was begun."""
    return _intend(team_id, "threshold") is not None


def force(team_id: str, reason: str, actor: Actor = audit.SYSTEM) -> str:
    """Begin a purchase whatever the balance is, within consent and limits. Returns its id. Raises `RuleRefused`."""
    intent_id = _intend(team_id, "forced")
    if intent_id is None:
        raise RuleRefused("off")
    audit.record(actor, "auto_purchase.forced", team_id=team_id, target=intent_id, reason=reason)
    return intent_id


def _intend(team_id: str, began_by: str, cost: int = 0) -> str | None:
    ledger.post_due(team_id)  # takes the account's lock
    rule, book = purchase_rules.rule_of(team_id), locked_book(team_id)
    if rule is None or book.purchase_below is None or effective(team_id).credits_frozen:
        return None
    gap = _gap(book, rule, cost)
    if began_by == "forced":
        gap = max(gap, 1)
    return _begin(rule, book.now, gap, began_by) if gap > 0 else None


def _begin(rule: AutoPurchaseRule, now: datetime, gap: int, began_by: str) -> str | None:
    team_id = rule.team_id
    not_offered = purchase_rules.why_not_offered(team_id)
    bundle, card = purchase_rules.bundle_of(rule), purchase_rules.card_to_charge(team_id)
    if not_offered or bundle is None or card is None:
        _stop(rule, not_offered or ("price_changed" if bundle is None else "no_card"))
        return None
    sized = size(gap, bundle.credits, bundle.unit_amount_cents, _limits(rule), bought(team_id, now), now)
    if sized.until is not None:
        purchase_rules.cap(team_id, str(sized.limit), sized.until)
        purchase_news.tell_of_cap(rule, str(sized.limit), sized.until)
        return None
    return _insert(rule, bundle, card, sized.bundles, began_by)


def _gap(book: Book, rule: AutoPurchaseRule, cost: int) -> int:
    """How many credits are missing: up to the threshold, and up to what a refused spend takes."""
    return max(rule.threshold - book.counted(rule.counts), cost - (book.available - book.debt) if cost else 0)


def _limits(rule: AutoPurchaseRule) -> Limits:
    return Limits(rule.day_count_max, rule.month_count_max, rule.day_cents_max, rule.month_cents_max)


def bought(team_id: str, now: datetime) -> Bought:
    """What was bought automatically, or is about to be, in the day and month of an instant.

    What counts is when the card was charged, which may be later than when the purchase was begun: until it has ended, one
    that is open may be charged now. So none is begun beside it, and none that was charged is missing here.
    """
    is_open = PurchaseIntent.state.in_(OPEN_STATES)
    charged_at = func.coalesce(Payment.occurred_at, PurchaseIntent.finished_at)
    day = is_open | (charged_at >= day_start(now))
    sums = (_sum(day, count=True), _sum(count=True), _sum(day), _sum())
    in_month = is_open | ((PurchaseIntent.state == "granted") & (charged_at >= month_start(now)))
    query = select(*sums).outerjoin(Payment, Payment.stripe_id == PurchaseIntent.payment_intent_stripe_id)
    row = db.session.execute(query.where(PurchaseIntent.team_id == team_id, in_month)).one()
    return Bought(*map(int, row))


def _sum(*of_day: ColumnElement[bool], count: bool = False) -> ColumnElement[int]:
    what: ColumnElement[int] = func.count() if count else func.sum(PurchaseIntent.amount)
    return func.coalesce(what.filter(*of_day) if of_day else what, 0)


def _stop(rule: AutoPurchaseRule, reason: str) -> None:
    purchase_rules.stop(rule.team_id, reason)
    purchase_news.tell_of_stop(rule, reason)


def _insert(
    rule: AutoPurchaseRule, bundle: BundlePrice, card: PaymentMethod, quantity: int, began_by: str
) -> str | None:
    intent_id, team_id = new_id("buy"), rule.team_id
    customer_id = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    granted, amount = bundle.credits * quantity, bundle.unit_amount_cents * quantity
    values = {
        "id": intent_id,
        "team_id": team_id,
        "consent_id": rule.consent_id,
        "began_by": began_by,
        "arming": rule.arming,
        "price_id": bundle.price_id,
        "quantity": quantity,
        "credits": granted,
        "expires_after_months": bundle.expires_after_months,
        "amount": amount,
        "currency": bundle.currency,
        "card_fingerprint": card.fingerprint,
        "idempotency_key": f"auto-{intent_id}",
        "state": "pending",
        "params": {
            "amount": amount,
            "currency": bundle.currency,
            "customer": customer_id,
            "payment_method": card.stripe_id,
            "allowed_payment_method_types": ["card"],
            "description": f"Auto-purchase of {granted:,} credits",
            "metadata": {
                "team_id": team_id,
                "purchase_intent_id": intent_id,
                "bundle": bundle.bundle_key,
                "credits": str(granted),
                "source": "turnpike",
            },
        },
    }
    if rule.not_before is not None:
        values["run_at"] = func.greatest(rule.not_before, func.app_now())
    row = insert(PurchaseIntent).values(values).on_conflict_do_nothing().returning(PurchaseIntent.id)
    made: str | None = db.session.execute(row).scalar()
    purchase_rules.show_to_spends(team_id)
    after_commit(jobs.hint_soon)
    return made
