"""A purchase and the credits it comes to: what was paid is granted, what was refunded is taken back."""

from __future__ import annotations

from portal.billing.checkout import find_checkout
from portal.billing.mirror import Json, NotYet
from portal.billing.purchases import Mirrored, Purchase, mirror_purchase
from portal.credits.refund_reversals import reverse_refunded_invoice, reverse_refunded_page
from portal.credits.subscription_grants import grant_for_invoices


def settle(purchase: Purchase) -> Mirrored:
    """Write the purchase, grant what it has paid for and take back what was refunded, in the current unit.

    Raises `StaleFetch` or `NotYet`, and then nothing of it may be kept.
    """
    mirrored = mirror_purchase(purchase)
    if mirrored.subscription is not None:
        grant_for_invoices(mirrored.subscription, mirrored.invoices)
    if not any(purchase.refunds.values()):
        return mirrored
    for invoice in mirrored.invoices:
        reverse_refunded_invoice(invoice.team_id, invoice.stripe_id)
    if purchase.page is not None:
        for payment in mirrored.payments:
            _take_back(payment.team_id, purchase.page)
    return mirrored


def _take_back(team_id: str, page: Json) -> None:
    """Credits that were bought on a page of ours are taken back, and if need be their grant is waited for."""
    checkout_id = (page.get("metadata") or {}).get("checkout_id")
    granted = reverse_refunded_page(team_id, page["id"])
    if not granted and find_checkout(page["id"], checkout_id) is not None:
        raise NotYet(f"the credits of {page['id']} are not granted yet")
