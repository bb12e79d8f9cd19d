"""What a subscription that ends now still owes or is owed: the rest of its period, and what has been waiting."""

from portal.sandbox import collecting, proration, renewing, standing, usage_billing
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, subscription_items
from portal.sandbox.store import Object


def credit_rest(call: Call, subscription: Object) -> None:
    """Let the time that was paid for and is not used wait as credit for the customer's next invoice."""
    customer = fetch(call, "customer", subscription["customer"])
    for item in subscription_items.of_subscription(call, subscription["id"]):
        proration.give_back(call, customer, item, call.now())


def last_invoice(
    call: Call, subscription: Object, *, prorates: bool, reason: str = "subscription_update"
) -> Object | None:
    """Return the draft of a last invoice over all that waits or was used, or None when there is nothing.

    The caller saves it.
    """
    if prorates:
        credit_rest(call, subscription)
    items = subscription_items.of_subscription(call, subscription["id"])
    usage = [line for line in usage_billing.lines(call, subscription, items) if line.amount]
    if not usage and not invoice_items.pending(call, subscription["customer"], subscription["id"]):
        return None
    return renewing.draft(call, subscription, [], reason, usage)


def bill_last(call: Call, subscription: Object, *, prorates: bool) -> None:
    """Bill all that waits for an invoice of a subscription that ends. The caller saves it."""
    invoice = last_invoice(call, subscription, prorates=prorates)
    if invoice is not None:
        collecting.finalize(call, invoice, description="Subscription cancellation")
        standing.collect(call, invoice, standing.card_of(call, subscription))
