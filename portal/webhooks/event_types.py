"""The event types that we apply, grouped by what they are about: those of a group ask for the same look at Stripe."""

from __future__ import annotations

CHECKOUT = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
SUBSCRIPTION = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
)
TRIAL_WILL_END = ("customer.subscription.trial_will_end",)
SCHEDULE = (
    "subscription_schedule.created",
    "subscription_schedule.updated",
    "subscription_schedule.released",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
)
CUSTOMER = ("customer.updated", "customer.deleted")
TAX_ID = ("customer.tax_id.created", "customer.tax_id.updated", "customer.tax_id.deleted")
CREDIT_NOTE = ("credit_note.created", "credit_note.updated", "credit_note.voided")
INVOICE = (
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.voided",
)
ACTION_REQUIRED = ("invoice.payment_action_required",)
PAYMENT_INTENT = ("payment_intent.succeeded", "payment_intent.payment_failed")
CHARGE_REFUNDED = ("charge.refunded",)
DISPUTE = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
REFUND = ("refund.created", "refund.updated", "refund.failed")
PAYMENT_METHOD = ("payment_method.attached", "payment_method.detached", "payment_method.updated")
