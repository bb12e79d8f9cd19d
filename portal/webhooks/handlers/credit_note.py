"""`credit_note.*`: an invoice was corrected. The note, and the invoice with what is paid and refunded of it."""

from __future__ import annotations

from portal.billing.credit_notes import fetch_credit_note, mirror_credit_note
from portal.billing.gateway import gateway
from portal.billing.invoice_news import tell_of_news
from portal.billing.mirror import ref
from portal.billing.purchases import fetch_purchase_of_invoice
from portal.credits.settlement import settle
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_invoice


def on_credit_note(event: Claimed) -> None:
    stripe = gateway()
    note = fetch_credit_note(stripe, str(event.object_id))
    purchase = fetch_purchase_of_invoice(stripe, str(ref(note.data["invoice"])))
    with applying(event, *as_invoice(purchase)):
        for invoice in settle(purchase).invoices:
            tell_of_news(invoice)
            if purchase.invoice is not None and invoice.stripe_id == purchase.invoice.stripe_id:
                mirror_credit_note(note, invoice)
