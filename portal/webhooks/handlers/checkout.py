"""`checkout.session.completed`, `.async_payment_succeeded`, `.async_payment_failed` and `.expired`.

They differ in what has happened, not in what is to be done: Stripe is asked how the page stands, and paid is paid.
"""

from __future__ import annotations

from portal.billing.checkout_mirror import mirror_checkout
from portal.billing.gateway import gateway
from portal.billing.mirror import ref
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.bundle_grants import grant_for_checkout
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_subscription


def on_checkout(event: Claimed) -> None:
    stripe = gateway()
    page = stripe.checkout_session(str(event.object_id))
    subscription_id = ref(page.get("subscription"))
    state = fetch_subscription_state(stripe, subscription_id) if subscription_id else None
    with applying(event, *as_subscription(state)):
        checkout = mirror_checkout(page)
        if checkout is not None:
            grant_for_checkout(checkout)
        if state is not None:
            subscription, invoices = mirror_subscription_state(state)
            grant_for_invoices(subscription, invoices)
