"""One small handler per event type. Types that are not in the table are kept as `ignored`.

A handler takes the event as a hint: it fetches what is true from Stripe (outside a transaction), then writes the
mirror and its effects in one unit with the event's `done`.
"""

from __future__ import annotations

from collections.abc import Callable

from portal.webhooks.claim import Claimed
from portal.webhooks.handlers.checkout import on_checkout
from portal.webhooks.handlers.customer import on_customer_updated
from portal.webhooks.handlers.invoice import on_invoice
from portal.webhooks.handlers.subscription import on_subscription

HANDLERS: dict[str, Callable[[Claimed], None]] = {
    "checkout.session.completed": on_checkout,
    "checkout.session.async_payment_succeeded": on_checkout,
    "checkout.session.async_payment_failed": on_checkout,
    "checkout.session.expired": on_checkout,
    "customer.subscription.created": on_subscription,
    "customer.subscription.updated": on_subscription,
    "customer.subscription.deleted": on_subscription,
    "customer.updated": on_customer_updated,
    "invoice.paid": on_invoice,
    "invoice.payment_succeeded": on_invoice,
    "invoice.payment_failed": on_invoice,
}
