"""`invoice.*`: finalized, paid (and its alias `payment_succeeded`), not paid, or waiting for the buyer.

A normal charge fires several of them, so effects are keyed by the period that was paid, never by the event.
"""

from __future__ import annotations

from portal.billing.billing_mail import tell_of_needed_action
from portal.billing.gateway import gateway
from portal.billing.invoice_news import tell_of_news
from portal.billing.purchases import fetch_purchase_of_invoice
from portal.credits.settlement import settle
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_invoice, as_payment


def on_invoice(event: Claimed) -> None:
    purchase = fetch_purchase_of_invoice(gateway(), str(event.object_id))
    with applying(event, *as_invoice(purchase)):
        for invoice in settle(purchase).invoices:
            tell_of_news(invoice)


def on_payment_action_required(event: Claimed) -> None:
    purchase = fetch_purchase_of_invoice(gateway(), str(event.object_id))
    with applying(event, *as_payment(purchase)):
        for invoice in settle(purchase).invoices:
            if invoice.stripe_id == event.object_id:
                tell_of_needed_action(invoice)
