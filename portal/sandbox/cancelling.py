"""What a subscription that ends now still owes or is owed: the rest of its period, and what has been waiting."""

from portal.sandbox import collecting, draft_time, proration, renewing, standing, usage_billing
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
    call: Call,
    subscription: Object,
    *,
    prorates: bool,
    reason: str = "subscription_update",
    empty_too: bool = False,
) -> Object | None:
    """Return the draft of a last invoice over all that waits or was used, or None when there is nothing.

    With `empty_too` there is one as well when nothing was used so far.

    The caller saves it.
    """
    if prorates:
        credit_rest(call, subscription)
    items = subscription_items.of_subscription(call, subscription["id"])
    usage = usage_billing.lines(call, subscription, items)
    if not empty_too:
        usage = [line for line in usage if line.amount]
    waiting = invoice_items.pending(call, subscription["customer"], subscription["id"], subscription["currency"])
    if not usage and not waiting:
        return None
    return renewing.draft(call, subscription, [], reason, usage)


def bill_last(call: Call, subscription: Object, *, prorates: bool, by_clock: bool = False) -> None:
    """Bill all that waits for an invoice of a subscription that ends. The caller saves it.

    An end that comes by the clock leaves the invoice as a draft for its time.
    """
    items = subscription_items.of_subscription(call, subscription["id"])
    usage = usage_billing.lines(call, subscription, items) if by_clock and draft_time.seconds(call) else []
    invoice = last_invoice(call, subscription, prorates=prorates, empty_too=bool(usage))
    if invoice is not None and not (usage and draft_time.waits(call, invoice)):
        collecting.finalize(call, invoice, description="Subscription cancellation")
        standing.collect(call, invoice, standing.card_of(call, subscription))
