"""Beginning the next period of a subscription: its items move on, an invoice is made and the money for it is taken."""

from copy import deepcopy

from portal.sandbox import discounting, events
from portal.sandbox.call import Call
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoices, subscription_items
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object
from portal.sandbox.subscribing import discounted, recurring


def begin_period(call: Call, subscription: Object, items: list[Object]) -> None:
    """Start the period of `items` that holds this instant and bill it; what is not paid is past due."""
    before = render(call, deepcopy(subscription))
    move_on(call, subscription, items)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    # While collection is paused, nothing is billed.
    invoice = _draft(call, subscription, items) if subscription["pause_collection"] is None else None
    if invoice is not None:
        subscription["latest_invoice"] = invoice["id"]
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    if invoice is not None:
        _set_status(call, subscription, "active" if _collect(call, subscription, invoice) else "past_due")


def move_on(call: Call, subscription: Object, items: list[Object]) -> None:
    """Give items the period that holds this instant, always counted from the anchor: no month's length shifts the day."""
    for item in items:
        rhythm = fetch(call, "price", item["price"])["recurring"]
        number, start, end = 0, subscription["billing_cycle_anchor"], subscription["billing_cycle_anchor"]
        while end <= call.now():
            number += 1
            start, end = (
                end,
                add_interval(
                    subscription["billing_cycle_anchor"], rhythm["interval"], number * rhythm["interval_count"]
                ),
            )
        call.store.save(item | {"current_period_start": start, "current_period_end": end})


def _draft(call: Call, subscription: Object, items: list[Object]) -> Object:
    customer = fetch(call, "customer", subscription["customer"])
    moved = [fetch(call, "subscription_item", item["id"]) for item in items]
    sources = _with_discount(call, subscription, [recurring(call, item) for item in moved])
    return invoices.draft(call, customer, subscription, "subscription_cycle", sources)


def _with_discount(call: Call, subscription: Object, sources: list[LineSource]) -> list[LineSource]:
    """Take a discount that lasts off the lines, as long as it does."""
    found = [fetch(call, "discount", discount_id) for discount_id in subscription["discounts"]]
    discount = next((one for one in found if one["end"] is None or one["end"] > call.now()), None)
    if discount is None:
        return sources
    coupon = call.store.get("coupon", discount["source"]["coupon"])
    assert coupon is not None
    parts = discounting.shares(coupon, [(source.price, source.amount) for source in sources])
    return [discounted(source, off, discount) for source, off in zip(sources, parts, strict=True)]


def _collect(call: Call, subscription: Object, invoice: Object) -> bool:
    """Finalize the invoice and take the money; says whether it is paid."""
    customer = fetch(call, "customer", subscription["customer"])
    before = render(call, deepcopy(customer))
    invoices.finalize(call, invoice, customer, description="Subscription update")
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    if invoice["amount_due"] > 0:
        card = card_of(call, subscription)
        if card is None or invoices.take_payment(call, invoice, card) is not None:
            invoices.mark_failed(call, invoice)
            return False
    invoices.mark_paid(call, invoice)
    return True


def card_of(call: Call, subscription: Object) -> Object | None:
    """Return the card that pays for a subscription: its own, else the customer's default."""
    customer = fetch(call, "customer", subscription["customer"])
    chosen = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    return fetch(call, "payment_method", chosen) if chosen else None


def items_due(call: Call, subscription: Object, at: int) -> list[Object]:
    """Return the items whose period ends at an instant, or has ended before."""
    items = subscription_items.of_subscription(call, subscription["id"])
    return [item for item in items if item["current_period_end"] <= at]


def _set_status(call: Call, subscription: Object, status: str) -> None:
    """Change the status and tell of it, if that is a change."""
    before = render(call, deepcopy(subscription))
    subscription["status"] = status
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
