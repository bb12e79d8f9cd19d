"""`subscription_schedule.*`: what a subscription is to become has changed. It is told with the subscription itself."""

from __future__ import annotations

from portal.billing.gateway import gateway
from portal.billing.mirror import ref
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_subscription


def on_subscription_schedule(event: Claimed) -> None:
    stripe = gateway()
    schedule = stripe.subscription_schedule(str(event.object_id))
    subscription_id = ref(schedule.get("subscription")) or ref(schedule.get("released_subscription"))
    state = fetch_subscription_state(stripe, subscription_id) if subscription_id else None
    with applying(event, *as_subscription(state)):
        if state is not None:
            grant_for_invoices(*mirror_subscription_state(state))
