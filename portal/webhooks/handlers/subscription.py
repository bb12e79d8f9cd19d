"""`customer.subscription.*`: the subscription was made, changed, paused or ended, or its trial is about to end."""

from __future__ import annotations

from portal.billing.billing_mail import tell_of_trial_end
from portal.billing.gateway import gateway
from portal.billing.sync import fetch_subscription_state, mirror_subscription_state
from portal.credits.subscription_grants import grant_for_invoices
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_subscription


def on_subscription(event: Claimed) -> None:
    state = fetch_subscription_state(gateway(), str(event.object_id))
    with applying(event, *as_subscription(state)):
        subscription, invoices = mirror_subscription_state(state)
        grant_for_invoices(subscription, invoices)


def on_trial_will_end(event: Claimed) -> None:
    state = fetch_subscription_state(gateway(), str(event.object_id))
    with applying(event, *as_subscription(state)):
        subscription, invoices = mirror_subscription_state(state)
        grant_for_invoices(subscription, invoices)
        tell_of_trial_end(subscription)
