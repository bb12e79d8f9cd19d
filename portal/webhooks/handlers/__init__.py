"""One small handler per event type. Types that are not in the table are kept as `ignored`.

A handler takes the event as a hint: it fetches what is true from Stripe (outside a transaction), then writes the
mirror and its effects in one unit with the event's `done`.
"""

from __future__ import annotations

from collections.abc import Callable

from portal.webhooks import event_types as types
from portal.webhooks.claim import Claimed
from portal.webhooks.envelope import THIN_PREFIX
from portal.webhooks.handlers.checkout import on_checkout
from portal.webhooks.handlers.credit_note import on_credit_note
from portal.webhooks.handlers.customer import on_customer, on_tax_id
from portal.webhooks.handlers.dispute import on_dispute
from portal.webhooks.handlers.invoice import on_invoice, on_payment_action_required
from portal.webhooks.handlers.payment import on_charge_refunded, on_payment_intent, on_refund
from portal.webhooks.handlers.payment_method import on_payment_method
from portal.webhooks.handlers.schedule import on_subscription_schedule
from portal.webhooks.handlers.subscription import on_subscription, on_trial_will_end

_HANDLERS: tuple[tuple[tuple[str, ...], Callable[[Claimed], None]], ...] = (
    (types.CHECKOUT, on_checkout),
    (types.SUBSCRIPTION, on_subscription),
    (types.TRIAL_WILL_END, on_trial_will_end),
    (types.SCHEDULE, on_subscription_schedule),
    (types.CUSTOMER, on_customer),
    (types.TAX_ID, on_tax_id),
    (types.CREDIT_NOTE, on_credit_note),
    (types.INVOICE, on_invoice),
    (types.ACTION_REQUIRED, on_payment_action_required),
    (types.PAYMENT_INTENT, on_payment_intent),
    (types.CHARGE_REFUNDED, on_charge_refunded),
    (types.DISPUTE, on_dispute),
    (types.REFUND, on_refund),
    (types.PAYMENT_METHOD, on_payment_method),
)
HANDLERS = {event_type: handler for group, handler in _HANDLERS for event_type in group}


def handler_of(event_type: str) -> Callable[[Claimed], None] | None:
    """Who applies events of this type, snapshot or thin; None when nobody does."""
    return HANDLERS.get(event_type.removeprefix(THIN_PREFIX))
