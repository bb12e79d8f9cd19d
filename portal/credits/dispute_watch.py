"""Credits of a disputed payment that were held when the dispute was opened: a hold keeps what it has, and what comes back from it
is frozen a little later, as the rest was at once.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import exists, select

from portal.billing.dispute_models import OPEN_STATUSES, Dispute
from portal.billing.models import Payment
from portal.core.database import db
from portal.credits.holds import EXPIRES_IN_MAX
from portal.credits.models import CreditHold
from portal.credits.purchase_grants import cause_key
from portal.credits.purchase_models import PurchaseIntent
from portal.credits.undo import undo_invoice, undo_page, undo_purchase

# Older holds were closed before the dispute, and the index finds those that were not; a day for one whose end was posted late.
HOLDS_LAST = EXPIRES_IN_MAX + timedelta(days=1)


def payments_to_look_at() -> list[str]:
    """The ids of the payments that are disputed now and whose team has had a hold come to its end since. There are few."""
    closed = exists().where(
        CreditHold.team_id == Dispute.team_id,
        CreditHold.created_at > Dispute.created_at - HOLDS_LAST,
        CreditHold.closed_at > Dispute.created_at,
    )
    disputed = select(Dispute.payment_intent_stripe_id).where(Dispute.status.in_(OPEN_STATUSES), closed)
    query = select(Payment.id).where(Payment.stripe_id.in_(disputed)).order_by(Payment.occurred_at)
    return list(db.session.execute(query).scalars())


def look_at(payment_id: str) -> None:
    """Bring the credits of a payment in line with its disputes, in the current unit. Changes nothing when they are."""
    payment = db.session.execute(select(Payment).where(Payment.id == payment_id)).scalar_one()
    if payment.invoice_stripe_id is not None:
        undo_invoice(payment.team_id, payment.invoice_stripe_id)
    elif payment.checkout_stripe_id is not None:
        undo_page(payment.team_id, payment.checkout_stripe_id)
    else:
        bought = PurchaseIntent.payment_intent_stripe_id == payment.stripe_id
        for purchase_id in db.session.execute(select(PurchaseIntent.id).where(bought)).scalars():
            undo_purchase(payment.team_id, cause_key(purchase_id), payment.stripe_id)
