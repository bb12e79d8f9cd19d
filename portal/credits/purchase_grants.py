"""The credits of an auto-purchase: granted once its payment has succeeded, by whoever hears of it first.

The worker that charged and the events of the payment come here alike. The key of the grant is our purchase, so that all of
them together grant once; how many credits it is was frozen with what was charged.
"""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import select, update

from portal.accounts import audit
from portal.billing.mirror import Fetched
from portal.billing.models import Payment
from portal.billing.purchases import Mirrored, Purchase
from portal.core import jobs
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import after_commit
from portal.credits import ledger, purchase_news, purchase_rules
from portal.credits.book import AUTO_PURCHASE
from portal.credits.periods import period
from portal.credits.purchase_models import PurchaseIntent
from portal.credits.storage import lock_account
from portal.credits.undo import undo_purchase

log = structlog.get_logger(__name__)


def cause_key(intent_id: str) -> str:
    """The key of a purchase's grant."""
    return f"{AUTO_PURCHASE}{intent_id}"


def grant_for_payments(purchase: Purchase, mirrored: Mirrored) -> None:
    """Grant what a payment has bought automatically and undo what was refunded or disputed of it, in the current unit."""
    for fetched in purchase.intents:
        payment = next((one for one in mirrored.payments if one.stripe_id == fetched.stripe_id), None)
        row = _purchase_of(fetched, payment)
        if row is None or payment is None:
            continue
        if fetched.data["status"] == "succeeded":
            _grant(row, fetched.stripe_id, payment)
            if purchase.refunds.get(fetched.stripe_id) or purchase.disputes.get(fetched.stripe_id):
                undo_purchase(row.team_id, cause_key(row.id), fetched.stripe_id)
        else:
            _wake(row)


def _purchase_of(fetched: Fetched, payment: Payment | None) -> PurchaseIntent | None:
    """Our purchase that an intent of Stripe's is for: its metadata names it, and it belongs to the payment's team."""
    intent_id = (fetched.data.get("metadata") or {}).get("purchase_intent_id")
    if intent_id is None or payment is None:
        return None
    query = select(PurchaseIntent).where(PurchaseIntent.id == intent_id, PurchaseIntent.team_id == payment.team_id)
    row = db.session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()
    if row is None:
        return None
    agrees = (row.amount, row.currency) == (fetched.data["amount"], fetched.data["currency"])
    if not agrees or row.payment_intent_stripe_id not in (None, fetched.stripe_id):
        log.error("foreign_purchase", purchase_intent_id=row.id, payment_intent=fetched.stripe_id)
        raise_alarm("foreign_purchase", row.id, payment_intent=fetched.stripe_id)
        return None
    return row


def _grant(row: PurchaseIntent, payment_intent_id: str, payment: Payment) -> None:
    lock_account(row.team_id)
    paid_at, months = payment.occurred_at, row.expires_after_months
    ledger.grant(
        row.team_id,
        kind="bundle",
        amount=row.credits,
        cause_key=cause_key(row.id),
        source=f"Auto-purchase of {row.credits:,}",
        expires_at=period(paid_at, "month", months)[0] if months is not None else None,
    )
    if not _mark(row, payment_intent_id):
        return
    audit.record(
        audit.SYSTEM,
        "auto_purchase.made",
        team_id=row.team_id,
        target=row.id,
        amount_cents=row.amount,
        currency=row.currency,
        credits=row.credits,
    )
    purchase_rules.show_to_spends(row.team_id)
    purchase_news.tell_of_purchase(row, payment)


def _mark(row: PurchaseIntent, payment_intent_id: str) -> bool:
    """Write that it is granted, whatever was thought of it before; whether that is news."""
    values: dict[str, Any] = {
        "state": "granted",
        "payment_intent_stripe_id": payment_intent_id,
        "failure_code": None,
        "confirm_url": None,
        "finished_at": app_now(),
        "lease_until": None,
        "lease_token": None,
        "lease_holder": None,
    }
    unmarked = (PurchaseIntent.id == row.id) & (PurchaseIntent.state != "granted")
    marked = update(PurchaseIntent).where(unmarked).values(**values).returning(PurchaseIntent.id)
    return db.session.execute(marked, execution_options={"synchronize_session": False}).scalar() is not None


def _wake(row: PurchaseIntent) -> None:
    """Something has happened to the payment: look whether a purchase that waits for the bank has come to an end."""
    waits = (PurchaseIntent.id == row.id) & (PurchaseIntent.state == "requires_action")
    woken = update(PurchaseIntent).where(waits).values(run_at=app_now()).returning(PurchaseIntent.id)
    if db.session.execute(woken, execution_options={"synchronize_session": False}).scalar() is not None:
        after_commit(jobs.hint_soon)
