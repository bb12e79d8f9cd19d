"""`customer.updated`, `customer.deleted` and `customer.tax_id.*`: name, address, e-mail, tax ids or default card changed,
or the customer is gone.
"""

from __future__ import annotations

from portal.billing.card_change import let_new_card_pay
from portal.billing.customers import customer_of_tax_id, default_payment_method, fetch_customer, mirror_customer
from portal.billing.gateway import gateway
from portal.billing.payment_methods import fetch_payment_method, mirror_payment_method
from portal.webhooks.claim import Claimed, applying


def on_customer(event: Claimed) -> None:
    """Of a deleted customer Stripe answers no more than that, whichever of its events asks."""
    stripe = gateway()
    fetched = fetch_customer(stripe, str(event.object_id))
    card_id = default_payment_method(fetched.data)
    card = fetch_payment_method(stripe, card_id) if card_id else None
    let_new_card_pay(stripe, fetched, event.event_id)
    with applying(event):
        customer = mirror_customer(fetched, card=True)
        if card is not None:
            mirror_payment_method(card, customer.team_id)


def on_tax_id(event: Claimed) -> None:
    """The customer is read with all of its tax ids. One that is gone before we knew of it concerns nobody."""
    stripe = gateway()
    customer_id = customer_of_tax_id(stripe, str(event.object_id))
    fetched = fetch_customer(stripe, customer_id) if customer_id else None
    with applying(event):
        if fetched is not None:
            mirror_customer(fetched)
