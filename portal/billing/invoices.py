"""The mirror of invoices, with the lines from which credits are granted."""

from __future__ import annotations

from typing import Any

from portal.billing.gateway import Gateway
from portal.billing.metered_words import invoice_words, said_at_stripe
from portal.billing.mirror import Fetched, Json, fetch, lock_customer, moment, ref, store
from portal.billing.models import Invoice


def fetch_invoice(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Invoice, stripe_id, gateway.invoice)


def mirror_invoice(fetched: Fetched) -> Invoice:
    """Write the invoice. Raises `UnknownCustomer` or `StaleFetch`."""
    data = fetched.data
    customer = lock_customer(str(ref(data["customer"])))
    lines = data["lines"]["data"]
    values = {
        "team_id": customer.team_id,
        "subscription_stripe_id": subscription_of(data),
        "number": data.get("number"),
        "status": data["status"],
        "billing_reason": data.get("billing_reason"),
        "currency": data["currency"],
        "subtotal": data["subtotal"],
        "discount": sum(one["amount"] for one in data.get("total_discount_amounts") or []),
        "tax": sum(one["amount"] for one in data.get("total_taxes") or []),
        "total": data["total"],
        "amount_due": data["amount_due"],
        "amount_paid": data["amount_paid"],
        "credited_before": data.get("pre_payment_credit_notes_amount") or 0,
        "credited_after": data.get("post_payment_credit_notes_amount") or 0,
        "description": invoice_words(data.get("description"), [said_at_stripe(line) for line in lines]),
        "lines": [_line(line) for line in lines],
        "hosted_invoice_url": data.get("hosted_invoice_url"),
        "invoice_pdf": data.get("invoice_pdf"),
        "created_at": moment(data["created"]),
        "attempt_count": data.get("attempt_count") or 0,
        "paid_at": moment((data.get("status_transitions") or {}).get("paid_at")),
        "finalized_at": moment((data.get("status_transitions") or {}).get("finalized_at")),
        "next_payment_attempt": moment(data.get("next_payment_attempt")),
    }
    return store(Invoice, "inv", fetched, values)


def subscription_of(data: Json) -> str | None:
    """The subscription an invoice is for: `parent.subscription_details.subscription` since API version basil."""
    parent = data.get("parent") or {}
    return ref((parent.get("subscription_details") or {}).get("subscription"))


def _line(line: Json) -> dict[str, Any]:
    parent = line.get("parent") or {}
    item = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    return {
        "price": ref(price),
        "amount": line["amount"],
        "quantity": line.get("quantity"),
        "description": line.get("description"),
        "proration": bool(item.get("proration")),
        "gives_back": bool((item.get("proration_details") or {}).get("credited_items")),
        "subscription": ref(item.get("subscription")),
        "period_start": line["period"]["start"],
        "period_end": line["period"]["end"],
    }
