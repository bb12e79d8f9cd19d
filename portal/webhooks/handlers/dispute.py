"""`charge.dispute.*`: opened, news of it, money taken or given back, decided. Each brings the payment and all about it."""

from __future__ import annotations

from portal.billing.disputes import fetch_dispute, mirror_dispute_of_charge
from portal.billing.gateway import gateway
from portal.billing.mirror import ref
from portal.billing.purchases import fetch_purchase_of_intent
from portal.credits.settlement import settle
from portal.webhooks.claim import Claimed, applying


def on_dispute(event: Claimed) -> None:
    stripe = gateway()
    fetched = fetch_dispute(stripe, str(event.object_id))
    intent_id, charge_id = ref(fetched.data.get("payment_intent")), ref(fetched.data.get("charge"))
    if intent_id is not None:
        purchase = fetch_purchase_of_intent(stripe, intent_id, disputes=True)
        with applying(event):
            settle(purchase)
        return
    customer_id = ref(stripe.charge(charge_id).get("customer")) if charge_id else None
    with applying(event):
        mirror_dispute_of_charge(fetched, customer_id)
