"""The payment history: a row for every payment of a team, for what was paid without one, and for the end of a plan.

A payment intent's row rests on a fetch of that intent. The others follow from a row that was checked in the same unit:
the invoice's for what no intent has paid, the subscription's for its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from portal.billing.gateway import Gateway
from portal.billing.invoices import subscription_of
from portal.billing.mirror import Fetched, Json, fetch, lock_customer, moment, overwrite, ref, store
from portal.billing.models import Checkout, Payment, Subscription
from portal.catalog.queries import plan_by_key
from portal.core.database import db

PREFIX = "pay"
# An intent of which nobody has tried to pay anything leaves no row.
STATUSES = {
    "succeeded": "succeeded",
    "processing": "pending",
    "requires_capture": "pending",
    "requires_action": "requires_action",
    "requires_payment_method": "failed",
    "canceled": "canceled",
}


def fetch_intent(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Payment, stripe_id, gateway.payment_intent)


def mirror_intent(fetched: Fetched, invoice: Fetched | None, page: Json | None) -> Payment | None:
    """Write the row of an intent; None when nobody has tried to pay with it. Raises `StaleFetch`, `UnknownCustomer`.

    `invoice` is what it pays, `page` the checkout page on which it was paid, where there is one. An intent without a
    customer belongs to nobody here.
    """
    data = fetched.data
    customer_id = ref(data.get("customer")) or (ref(invoice.data["customer"]) if invoice else None)
    tried = data.get("latest_charge") is not None or data["status"] in ("succeeded", "processing", "requires_action")
    if customer_id is None or not tried or data["status"] not in STATUSES:
        return None
    customer = lock_customer(customer_id)
    values = _values(data) | {
        "team_id": customer.team_id,
        "type": type_of(invoice.data if invoice else None),
        "description": _description(data, invoice, page),
        "invoice_stripe_id": invoice.stripe_id if invoice else None,
        "checkout_stripe_id": page["id"] if page else None,
    }
    return store(Payment, PREFIX, fetched, values)


def type_of(invoice: Json | None) -> str:
    """What was paid for: without a subscription a top-up; a change of plan is an upgrade unless it gives money back."""
    if invoice is None or subscription_of(invoice) is None:
        return "top_up"
    if invoice.get("billing_reason") != "subscription_update":
        return "subscription_payment"
    return "downgrade" if invoice["total"] < 0 else "upgrade"


def _values(data: Json) -> dict[str, Any]:
    charge = data["latest_charge"] if isinstance(data.get("latest_charge"), dict) else {}
    card = (charge.get("payment_method_details") or {}).get("card") or {}
    error = (data.get("last_payment_error") or {}) if data["status"] == "requires_payment_method" else {}
    paid = data["status"] == "succeeded"
    amount = data["amount_received"] if paid else data["amount"]
    return {
        "status": STATUSES[data["status"]],
        "amount": amount,
        "amount_refunded": min(charge.get("amount_refunded", 0), amount) if paid else 0,
        "currency": data["currency"],
        "payment_intent_stripe_id": data["id"],
        "charge_stripe_id": charge.get("id"),
        "brand": card.get("brand"),
        "last4": card.get("last4"),
        "receipt_url": charge.get("receipt_url") if paid else None,
        "failure_code": error.get("decline_code") or error.get("code"),
        "occurred_at": moment(charge.get("created") or data["created"]),
    }


def _description(data: Json, invoice: Fetched | None, page: Json | None) -> str:
    """What it was for, as our own order says it, or the invoice, or whoever made the intent."""
    ordered = select(Checkout.credits).where(Checkout.stripe_id == page["id"]) if page else None
    bought = db.session.execute(ordered).scalar() if ordered is not None else None
    if bought is not None:
        return f"Bundle of {bought:,} credits"
    return (invoice_words(invoice.data) if invoice else data.get("description")) or "Payment"


def invoice_words(invoice: Json) -> str:
    """What an invoice is for, in one line: its own description, else that of its first line."""
    lines = invoice["lines"]["data"]
    return invoice.get("description") or (lines[0].get("description") if lines else None) or ""


def mirror_rest(invoice: Fetched, intents: Iterable[Fetched]) -> None:
    """Write what of a paid invoice no intent has paid, so that its rows add up to what was due.

    That is everything when it was paid outside of Stripe, and a row of 0 when nothing was due. The invoice's own row
    was written in this unit.
    """
    data = invoice.data
    if data["status"] != "paid":
        return
    by_intents = [intent.data["amount_received"] for intent in intents if intent.data["status"] == "succeeded"]
    rest = max(data["amount_due"] - sum(by_intents), 0)
    if by_intents and not rest:
        db.session.execute(delete(Payment).where(Payment.stripe_id == invoice.stripe_id))
        return
    values = {
        "team_id": lock_customer(str(ref(data["customer"]))).team_id,
        "type": type_of(data),
        "status": "succeeded",
        "amount": rest,
        "currency": data["currency"],
        "description": invoice_words(data),
        "invoice_stripe_id": invoice.stripe_id,
        "occurred_at": moment((data.get("status_transitions") or {}).get("paid_at") or data["created"]),
    }
    overwrite(Payment, PREFIX, invoice.stripe_id, values)


def record_end(subscription: Subscription) -> None:
    """Write the end of a plan into the history. The subscription's own row was written in this unit."""
    if subscription.status != "canceled" or subscription.ended_at is None:
        return
    plan = plan_by_key(subscription.plan_key or "")
    values = {
        "team_id": subscription.team_id,
        "type": "cancel",
        "status": "succeeded",
        "amount": 0,
        "currency": subscription.currency,
        "description": f"{plan.name if plan else 'The plan'} ended",
        "occurred_at": subscription.ended_at,
    }
    overwrite(Payment, PREFIX, subscription.stripe_id, values)


def waits_for_bank(invoice_stripe_id: str) -> bool:
    """Whether a payment of the invoice waits for the buyer to answer the bank."""
    query = select(Payment.id).where(
        Payment.invoice_stripe_id == invoice_stripe_id, Payment.status == "requires_action"
    )
    return db.session.execute(query.limit(1)).scalar() is not None


def paid_for_invoice(invoice_stripe_id: str) -> list[Payment]:
    """The payments that have succeeded for an invoice."""
    return _paid(Payment.invoice_stripe_id == invoice_stripe_id)


def paid_on_page(checkout_stripe_id: str) -> list[Payment]:
    """The payments that have succeeded on a checkout page, unless they are an invoice's."""
    return _paid(Payment.checkout_stripe_id == checkout_stripe_id)


def paid_by_intent(payment_intent_stripe_id: str) -> list[Payment]:
    """The payment of one intent, once it has succeeded."""
    return _paid(Payment.stripe_id == payment_intent_stripe_id)


def _paid(condition: ColumnElement[bool]) -> list[Payment]:
    query = select(Payment).where(condition, Payment.status == "succeeded", Payment.type != "refund")
    return list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())
