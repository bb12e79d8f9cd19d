"""How a subscription stands with its payments: active, past due, and what comes when nobody pays in the end."""

from copy import deepcopy
from typing import Any

from portal.sandbox import collecting, dunning, events, pending_updates
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.errors import ApiError
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoice_payments, invoices, payment_methods, subscriptions
from portal.sandbox.store import Object, equals, one_of

_OWING = ("past_due", "unpaid")
_BEHIND = ("incomplete", *_OWING)


def set_status(call: Call, subscription: Object, status: str, **members: Any) -> None:
    """Change the status (and what goes with it) and tell of it, if that is a change."""
    before = render(call, deepcopy(subscription))
    subscription |= {"status": status} | members
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def card_of(call: Call, subscription: Object) -> Object | None:
    """Return the card that pays for a subscription: its own, else the customer's default."""
    customer = fetch(call, "customer", subscription["customer"])
    chosen = subscription["default_payment_method"] or payment_methods.default_id_of(customer)
    return fetch(call, "payment_method", chosen) if chosen else None


def collect(call: Call, invoice: Object, card: Object | None) -> ApiError | None:
    """Take what is due on an open invoice by itself; the invoice is paid afterwards, or refused for the reason returned.

    Without a card it is refused as well, and there is no reason of a bank to return.
    """
    error: ApiError | None = None
    if invoice["amount_due"] > 0:
        error = collecting.take_payment(call, invoice, card) if card else NO_CARD
    if error is None:
        collecting.mark_paid(call, invoice)
    else:
        collecting.mark_failed(call, invoice, error)
    return error


NO_CARD = ApiError(
    400,
    "invalid_request_error",
    "The customer has no payment method that could pay the invoice; attach one and make it the default.",
    code="resource_missing",
)


def after_confirmation(call: Call, intent: Object, error: ApiError | None) -> None:
    """Pay or fail the invoice of an intent that somebody has confirmed; most intents have none."""
    payment = invoice_payments.of_intent(call, intent["id"])
    if payment is None:
        return
    invoice = fetch(call, "invoice", payment["invoice"])
    call = call_for(call, invoice)
    if error is None:
        collecting.mark_paid(call, invoice)
        after_payment(call, invoice)
    else:
        collecting.mark_failed(call, invoice, error, by_clock=False)


def after_payment(call: Call, invoice: Object) -> None:
    """Let a subscription have what was paid for: it is active again, or the change that waited is made."""
    subscription = invoices.subscription_of(call, invoice)
    if subscription is None:
        return
    _keep_card(call, subscription, invoice)
    if pending_updates.is_paid_by(subscription, invoice):
        pending_updates.carry_out(call, subscription)
        return
    if subscription["status"] in _BEHIND and _was_the_last(call, subscription, invoice):
        set_status(call, subscription, "active")


def _was_the_last(call: Call, subscription: Object, invoice: Object) -> bool:
    """Say whether nothing later than an invoice, or nothing at all, is waited for any more."""
    return bool(
        subscription["latest_invoice"] == invoice["id"] or not collecting.open_invoices(call, subscription["id"])
    )


def after_write_off(call: Call, invoice: Object) -> None:
    """Let a subscription be active again whose debt is forgiven; one that is incomplete stays so."""
    subscription = invoices.subscription_of(call, invoice)
    if subscription is None or subscription["status"] not in _OWING:
        return
    if _was_the_last(call, subscription, invoice):
        set_status(call, subscription, "active")


def after_void(call: Call, invoice: Object) -> None:
    """Let a subscription stand as the newest of its other invoices says, as if this one had never been."""
    subscription = invoices.subscription_of(call, invoice)
    if subscription is None or subscription["status"] not in _OWING:
        return
    of_it = equals("parent.subscription_details.subscription", subscription["id"])
    others = [of_it, one_of("status", ("open", "paid", "uncollectible"))]
    if not any(one["status"] == "open" for one in call.store.find("invoice", others, limit=1)):
        set_status(call, subscription, "active")


def _keep_card(call: Call, subscription: Object, invoice: Object) -> None:
    """Let the card that has paid pay from now on, where the subscription asks for that."""
    intent = collecting.intent_of(call, invoice)
    if intent is not None and intent["status"] == "succeeded" and keeps_card(subscription):
        set_status(call, subscription, subscription["status"], default_payment_method=intent["payment_method"])


def keeps_card(subscription: Object) -> bool:
    """Say whether what has paid an invoice of a subscription becomes its default."""
    return bool(subscription["payment_settings"]["save_default_payment_method"] == "on_subscription")


def after_refusal(call: Call, invoice: Object) -> None:
    """Let a subscription fall behind; after the last try, end it, or leave it as the policy says."""
    subscription = invoices.subscription_of(call, invoice)
    if subscription is None or subscription["status"] not in ("active", "past_due", "trialing"):
        return
    if pending_updates.is_paid_by(subscription, invoice):
        return
    if subscription["status"] == "active" and subscription["latest_invoice"] != invoice["id"]:
        return  # What came after it is paid: an old debt does not set the plan back.
    if subscription["status"] != "past_due":
        set_status(call, subscription, "past_due")
    if invoice["next_payment_attempt"] is None:
        _give_up(call, subscription)


def _give_up(call: Call, subscription: Object) -> None:
    afterwards = dunning.policy(call).afterwards
    if afterwards == "unpaid":
        set_status(call, subscription, "unpaid")
        collecting.stop_all_of(call, subscription["id"])
    elif afterwards == "cancel":
        subscriptions.end(call, subscription, {"reason": "payment_failed"})
