"""`payment_intent.*`, `charge.refunded` and `refund.*`: money that moved, did not move, or moved back."""

from __future__ import annotations

from portal.billing.card_testing import close_tested_pages
from portal.billing.gateway import Gateway, gateway
from portal.billing.mirror import ref
from portal.billing.purchases import fetch_purchase_of_intent
from portal.billing.refunds import fetch_refund, mirror_refund_of_charge
from portal.credits.settlement import settle
from portal.webhooks.claim import Claimed, applying
from portal.webhooks.same import as_payment


def on_payment_intent(event: Claimed) -> None:
    stripe = gateway()
    purchase = fetch_purchase_of_intent(stripe, str(event.object_id))
    with applying(event, *as_payment(purchase)):
        teams = {payment.team_id for payment in settle(purchase).payments}
    for team_id in teams if purchase.declines else ():
        close_tested_pages(stripe, team_id, event.event_id)


def on_charge_refunded(event: Claimed) -> None:
    stripe = gateway()
    intent_id = ref(stripe.charge(str(event.object_id)).get("payment_intent"))
    _apply_refunds(event, stripe, intent_id)


def on_refund(event: Claimed) -> None:
    stripe = gateway()
    fetched = fetch_refund(stripe, str(event.object_id))
    intent_id, charge_id = ref(fetched.data.get("payment_intent")), ref(fetched.data.get("charge"))
    if intent_id is not None or charge_id is None:
        _apply_refunds(event, stripe, intent_id)
        return
    customer_id = ref(stripe.charge(charge_id).get("customer"))
    with applying(event):
        mirror_refund_of_charge(fetched, customer_id)


def _apply_refunds(event: Claimed, stripe: Gateway, intent_id: str | None) -> None:
    """Bring the whole purchase and all of its refunds. A refund of no payment is nothing of ours."""
    purchase = fetch_purchase_of_intent(stripe, intent_id, refunds=True) if intent_id else None
    with applying(event):
        if purchase is not None:
            settle(purchase)
