"""A purchase and the credits it comes to: what was paid is granted, what went back is taken back, what may is frozen.

Nothing is bought automatically in its place: that waits for a person.
"""

from __future__ import annotations

from portal.billing.checkout_mirror import mirror_checkout
from portal.billing.mirror import NotYet
from portal.billing.models import Checkout
from portal.billing.purchases import Mirrored, Purchase, mirror_purchase
from portal.credits.bundle_grants import grant_for_checkout
from portal.credits.claims import claims_on
from portal.credits.purchase_grants import grant_for_payments
from portal.credits.purchase_stop import standings, stop_if_undone
from portal.credits.subscription_grants import grant_for_invoices
from portal.credits.undo import undo_invoice, undo_page
from portal.credits.undo_mail import tell_of_undone


def settle(purchase: Purchase) -> Mirrored:
    """Write the purchase, grant what it has paid for and undo what was refunded or disputed, in the current unit.

    Raises `StaleFetch` or `NotYet`, and then nothing of it may be kept.
    """
    before = standings(claims_on([intent.stripe_id for intent in purchase.intents])) if purchase.undone else set()
    checkout = mirror_checkout(purchase.page) if purchase.page is not None else None
    mirrored = mirror_purchase(purchase)
    if checkout is not None:
        grant_for_checkout(checkout)
    if mirrored.subscription is not None:
        grant_for_invoices(mirrored.subscription, mirrored.invoices)
    grant_for_payments(purchase, mirrored)
    if not purchase.undone:
        return mirrored
    for invoice in mirrored.invoices:
        undo_invoice(invoice.team_id, invoice.stripe_id)
    if checkout is not None:
        _undo_page(checkout)
    stop_if_undone(mirrored.payments, before)
    tell_of_undone(mirrored.payments, purchase.claims)
    return mirrored


def _undo_page(checkout: Checkout) -> None:
    """Credits that were bought on a page of ours are taken back or frozen, and if need be their grant is waited for."""
    granted = undo_page(checkout.team_id, str(checkout.stripe_id))
    if not granted:
        raise NotYet(f"the credits of {checkout.stripe_id} are not granted yet")
