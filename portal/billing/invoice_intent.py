"""The payment intent of an invoice, which tells what became of paying it."""

from __future__ import annotations

from portal.billing.gateway import Gateway
from portal.billing.mirror import Json, ref

# What Stripe knows an intent by that waits for its buyer, one that the bank has refused, and one whose money is on its way.
ASKS, REFUSED, UNDER_WAY = "requires_action", "requires_payment_method", "processing"


def intent_of(stripe: Gateway, invoice_id: str) -> Json:
    """The intent that is to pay an invoice: the newest one, should there be several."""
    for payment in stripe.payments_of_invoice(invoice_id):
        intent_id = ref(payment["payment"].get("payment_intent"))
        if intent_id is not None:
            return stripe.payment_intent(intent_id)
    return {"status": REFUSED}


def failure_code(intent: Json) -> str | None:
    """Why the last try to pay it failed, as Stripe names it."""
    error: Json = intent.get("last_payment_error") or {}
    code = error.get("decline_code") or error.get("code")
    return str(code) if code else None
