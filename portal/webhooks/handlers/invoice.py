"""`invoice.paid`, its alias `invoice.payment_succeeded`, and `invoice.payment_failed`.

A normal charge fires the first two, so effects are keyed by the period that was paid, never by the event.
"""

from __future__ import annotations

from portal.billing.gateway import gateway
from portal.billing.invoices import fetch_invoice, mirror_invoice, subscription_of
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying


def on_invoice(event: Claimed) -> None:
    stripe = gateway()
    invoice_id = str(event.object_id)
    invoice = fetch_invoice(stripe, invoice_id)
    subscription_id = subscription_of(invoice.data)
    if subscription_id is None:
        with applying(event):
            mirror_invoice(invoice)
        return
    state = fetch_subscription_state(stripe, subscription_id, invoice_id)
    with applying(event):
        subscription, invoices = mirror_subscription_state(state)
        grant_for_invoices(subscription, invoices)
