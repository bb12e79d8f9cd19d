"""Which payments have paid for automatic purchases: what their rows can be taken apart by."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from portal.billing.models import Payment
from portal.core.database import db
from portal.credits.purchase_models import PurchaseIntent


def payments_by_start(team_id: str, since: datetime) -> dict[datetime, str]:
    """By when each purchase began, from `since` on: our id of its payment. A team has only one at a time."""
    query = (
        select(PurchaseIntent.created_at, Payment.id)
        .join(Payment, Payment.stripe_id == PurchaseIntent.payment_intent_stripe_id)
        .where(PurchaseIntent.team_id == team_id, Payment.team_id == team_id, PurchaseIntent.created_at >= since)
    )
    return {row.created_at: row.id for row in db.session.execute(query)}
