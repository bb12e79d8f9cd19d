"""`customer.subscription.*`: the subscription was made, changed or ended."""

from __future__ import annotations

from portal.billing.gateway import gateway
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying


def on_subscription(event: Claimed) -> None:
    state = fetch_subscription_state(gateway(), str(event.object_id))
    with applying(event):
        subscription, invoices = mirror_subscription_state(state)
        grant_for_invoices(subscription, invoices)
