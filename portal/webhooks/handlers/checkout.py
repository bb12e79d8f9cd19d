"""`checkout.session.completed` and `.expired`: what became of a page that a person was sent to."""

from __future__ import annotations

from portal.billing.checkout import mirror_checkout
from portal.billing.gateway import gateway
from portal.billing.mirror import ref
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying


def on_checkout_completed(event: Claimed) -> None:
    stripe = gateway()
    page = stripe.checkout_session(str(event.object_id))
    subscription_id = ref(page.get("subscription"))
    state = fetch_subscription_state(stripe, subscription_id) if subscription_id else None
    with applying(event):
        mirror_checkout(page)
        if state is not None:
            subscription, invoices = mirror_subscription_state(state)
            grant_for_invoices(subscription, invoices)


def on_checkout_expired(event: Claimed) -> None:
    page = gateway().checkout_session(str(event.object_id))
    with applying(event):
        mirror_checkout(page)
