"""A new default card of the customer's pays for the plan too.

Stripe's customer portal changes the customer's default alone, and a subscription's own default, which checkout sets,
goes before it: unless we ask, the old card would be charged on.
"""

from __future__ import annotations

from sqlalchemy import select

from portal.billing.customers import default_payment_method
from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, StaleFetch
from portal.billing.models import Customer
from portal.billing.subscriptions import live_subscription
from portal.core.database import db
from portal.core.unit_of_work import end_read


def let_new_card_pay(gateway: Gateway, customer: Fetched, event_id: str) -> None:
    """Have the live subscription paid with the customer's default card, if that has changed since our last look.

    Raises `StaleFetch` when the customer was written after the fetch: the card may be an older one than we know.

    Call before the customer is mirrored with its `card`, outside of any unit. After a crash the mirror still has the old
    card, and the same call is made again under the same key; what it changes comes to our mirror as an event of the
    subscription. Whoever else mirrors the customer meanwhile leaves the card as it is, so that it stays news.
    """
    card_id = default_payment_method(customer.data)
    subscription_id = _to_change(customer, card_id) if card_id else None
    end_read()
    if subscription_id is not None:
        key = f"card-{subscription_id}-{card_id}-{event_id}"
        gateway.update_subscription(subscription_id, {"default_payment_method": card_id}, key)


def _to_change(customer: Fetched, card_id: str) -> str | None:
    """The subscription that is paid with another card of its own, when `card_id` is news to us."""
    columns = (Customer.team_id, Customer.default_payment_method, Customer.gen)
    known = db.session.execute(select(*columns).where(Customer.stripe_id == customer.stripe_id)).one_or_none()
    if known is None or known.default_payment_method == card_id:
        return None
    if known.gen != customer.gen:
        raise StaleFetch(customer.stripe_id)
    subscription = live_subscription(known.team_id)
    own = subscription.default_payment_method if subscription else None
    return subscription.stripe_id if subscription and own not in (None, card_id) else None
