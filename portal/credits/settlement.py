"""A purchase and the credits it comes to: what was paid is granted, what was refunded is taken back."""

from __future__ import annotations

from portal.billing.checkout_mirror import mirror_checkout
from portal.billing.mirror import NotYet
from portal.billing.models import Checkout
from portal.billing.purchases import Mirrored, Purchase, mirror_purchase
from portal.credits.bundle_grants import grant_for_checkout
from portal.credits.purchase_grants import grant_for_payments
from portal.credits.refund_reversals import reverse_refunded_invoice, reverse_refunded_page
from portal.credits.subscription_grants import grant_for_invoices


def settle(purchase: Purchase) -> Mirrored:
    """Write the purchase, grant what it has paid for and take back what was refunded, in the current unit.

    Raises `StaleFetch` or `NotYet`, and then nothing of it may be kept.
    """
    checkout = mirror_checkout(purchase.page) if purchase.page is not None else None
    mirrored = mirror_purchase(purchase)
    if checkout is not None:
        grant_for_checkout(checkout)
    if mirrored.subscription is not None:
        grant_for_invoices(mirrored.subscription, mirrored.invoices)
    grant_for_payments(purchase, mirrored)
    if not any(purchase.refunds.values()):
        return mirrored
    for invoice in mirrored.invoices:
        reverse_refunded_invoice(invoice.team_id, invoice.stripe_id)
    if checkout is not None:
        _take_back(checkout)
    return mirrored


def _take_back(checkout: Checkout) -> None:
    """Credits that were bought on a page of ours are taken back, and if need be their grant is waited for."""
    granted = reverse_refunded_page(checkout.team_id, str(checkout.stripe_id))
    if not granted:
        raise NotYet(f"the credits of {checkout.stripe_id} are not granted yet")
