"""The mirror of refunds. Each stands in the payment history too, as money that came back."""

from __future__ import annotations

from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, fetch, lock_customer, moment, overwrite, ref, store
from portal.billing.models import Payment, Refund
from portal.billing.payments import PREFIX
from portal.core.database import db
from portal.core.unit_of_work import end_read

# A refund in one of these states has moved no money, or has moved it back.
UNDONE = ("failed", "canceled")
# Whatever else Stripe says of a refund, the money is on its way.
STATUSES = {"failed": "failed", "canceled": "canceled", "succeeded": "succeeded"}


def fetch_refund(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Refund, stripe_id, gateway.refund)


def fetch_refunds_of(gateway: Gateway, payment_intent_id: str) -> tuple[Fetched, ...]:
    """All refunds of an intent. One that is new to us has generation 0, and is stale if another worker is faster."""
    query = select(Refund.stripe_id, Refund.gen).where(Refund.payment_intent_stripe_id == payment_intent_id)
    gens = {row.stripe_id: row.gen for row in db.session.execute(query)}
    end_read()
    found = gateway.refunds_of(payment_intent_id)
    return tuple(Fetched(refund["id"], gens.get(refund["id"], 0), refund) for refund in found)


def mirror_refund(fetched: Fetched, team_id: str, paid: Payment | None) -> Refund:
    """Write a refund of the payment `paid`, if it is known; the customer is locked. Raises `StaleFetch`."""
    data = fetched.data
    values = {
        "team_id": team_id,
        "payment_intent_stripe_id": ref(data.get("payment_intent")),
        "charge_stripe_id": ref(data.get("charge")),
        "amount": data["amount"],
        "currency": data["currency"],
        "status": data["status"],
        "reason": data.get("reason"),
        "failure_reason": data.get("failure_reason"),
        "created_at": moment(data["created"]),
    }
    refund = store(Refund, "ref", fetched, values)
    overwrite(Payment, PREFIX, fetched.stripe_id, _history(refund, paid))
    return refund


def _history(refund: Refund, paid: Payment | None) -> dict[str, object]:
    """The refund's line in the history, with what the payment it undoes was for."""
    return {
        "team_id": refund.team_id,
        "type": "refund",
        "status": STATUSES.get(refund.status, "pending"),
        "amount": -refund.amount,
        "currency": refund.currency,
        "description": f"Refund: {paid.description}" if paid else "Refund",
        "invoice_stripe_id": paid.invoice_stripe_id if paid else None,
        "checkout_stripe_id": paid.checkout_stripe_id if paid else None,
        "payment_intent_stripe_id": refund.payment_intent_stripe_id,
        "charge_stripe_id": refund.charge_stripe_id,
        "brand": paid.brand if paid else None,
        "last4": paid.last4 if paid else None,
        "failure_code": refund.failure_reason,
        "occurred_at": refund.created_at,
    }


def refunds_of(payment_intent_ids: list[str]) -> list[Refund]:
    """The refunds of these intents, oldest first."""
    query = select(Refund).where(Refund.payment_intent_stripe_id.in_(payment_intent_ids))
    fresh = query.order_by(Refund.created_at, Refund.stripe_id).execution_options(populate_existing=True)
    return list(db.session.execute(fresh).scalars())


def mirror_refund_of_charge(fetched: Fetched, customer_id: str | None) -> None:
    """Write a refund of a charge without an intent, as very old ones are: it stands in the history, and that is all."""
    if customer_id is not None:
        mirror_refund(fetched, lock_customer(customer_id).team_id, None)
