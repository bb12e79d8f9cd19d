"""One small handler per event type. Types that are not in the table are kept as `ignored`.

A handler takes the event as a hint: it fetches what is true from Stripe (outside a transaction), then writes the
mirror and its effects in one unit with the event's `done`.
"""

from __future__ import annotations

from collections.abc import Callable

from portal.webhooks.claim import Claimed
from portal.webhooks.envelope import THIN_PREFIX
from portal.webhooks.handlers.checkout import on_checkout
from portal.webhooks.handlers.credit_note import on_credit_note
from portal.webhooks.handlers.customer import on_customer_updated, on_tax_id
from portal.webhooks.handlers.dispute import on_dispute
from portal.webhooks.handlers.invoice import on_invoice, on_payment_action_required
from portal.webhooks.handlers.payment import on_charge_refunded, on_payment_intent, on_refund
from portal.webhooks.handlers.payment_method import on_payment_method
from portal.webhooks.handlers.schedule import on_subscription_schedule
from portal.webhooks.handlers.subscription import on_subscription, on_trial_will_end

HANDLERS: dict[str, Callable[[Claimed], None]] = {
    "checkout.session.completed": on_checkout,
    "checkout.session.async_payment_succeeded": on_checkout,
    "checkout.session.async_payment_failed": on_checkout,
    "checkout.session.expired": on_checkout,
    "customer.subscription.created": on_subscription,
    "customer.subscription.updated": on_subscription,
    "customer.subscription.deleted": on_subscription,
    "customer.subscription.paused": on_subscription,
    "customer.subscription.resumed": on_subscription,
    "customer.subscription.pending_update_applied": on_subscription,
    "customer.subscription.pending_update_expired": on_subscription,
    "customer.subscription.trial_will_end": on_trial_will_end,
    "customer.updated": on_customer_updated,
    "customer.tax_id.created": on_tax_id,
    "customer.tax_id.updated": on_tax_id,
    "customer.tax_id.deleted": on_tax_id,
    "credit_note.created": on_credit_note,
    "credit_note.updated": on_credit_note,
    "credit_note.voided": on_credit_note,
    "invoice.finalized": on_invoice,
    "invoice.paid": on_invoice,
    "invoice.payment_succeeded": on_invoice,
    "invoice.payment_failed": on_invoice,
    "invoice.voided": on_invoice,
    "invoice.payment_action_required": on_payment_action_required,
    "subscription_schedule.created": on_subscription_schedule,
    "subscription_schedule.updated": on_subscription_schedule,
    "subscription_schedule.released": on_subscription_schedule,
    "subscription_schedule.canceled": on_subscription_schedule,
    "subscription_schedule.completed": on_subscription_schedule,
    "payment_intent.succeeded": on_payment_intent,
    "payment_intent.payment_failed": on_payment_intent,
    "charge.refunded": on_charge_refunded,
    "charge.dispute.created": on_dispute,
    "charge.dispute.updated": on_dispute,
    "charge.dispute.closed": on_dispute,
    "charge.dispute.funds_withdrawn": on_dispute,
    "charge.dispute.funds_reinstated": on_dispute,
    "refund.created": on_refund,
    "refund.updated": on_refund,
    "refund.failed": on_refund,
    "payment_method.attached": on_payment_method,
    "payment_method.detached": on_payment_method,
    "payment_method.updated": on_payment_method,
}


def handler_of(event_type: str) -> Callable[[Claimed], None] | None:
    """Who applies events of this type, snapshot or thin; None when nobody does."""
    return HANDLERS.get(event_type.removeprefix(THIN_PREFIX))
