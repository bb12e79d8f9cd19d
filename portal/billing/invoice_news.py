"""Whom an invoice's news are told to, whatever brought them: an event, or the worker that has just charged it."""

from __future__ import annotations

from portal.billing.billing_mail import tell_of_paid_invoice
from portal.billing.dunning import tell_of_failure, tell_of_recovery
from portal.billing.models import Invoice


def tell_of_news(invoice: Invoice) -> None:
    """Put the mails that an invoice is due, each once: it has failed, is paid after all, or is paid."""
    tell_of_failure(invoice)
    if not tell_of_recovery(invoice):
        tell_of_paid_invoice(invoice)
