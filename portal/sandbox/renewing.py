"""Beginning the next period of a subscription: its items move on, an invoice is made and the money for it is taken."""

from collections.abc import Sequence
from copy import deepcopy

from portal.sandbox import collecting, discounting, draft_time, events, standing, usage_billing
from portal.sandbox.billing_lines import less_discount, recurring
from portal.sandbox.call import Call
from portal.sandbox.periods import period_at
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoice_items, invoices, prices, subscription_items
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object


def begin_period(call: Call, subscription: Object, items: list[Object], reason: str = "subscription_cycle") -> None:
    """Start the period of `items` that holds this instant and bill it; what is not paid is past due."""
    before = render(call, deepcopy(subscription))
    invoice = draft_period(call, subscription, items, reason)
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    if invoice is None or subscription["status"] == "unpaid":
        return  # Nobody has paid for long: what is due is written down and not asked for.
    if _counts_usage(call, items) and draft_time.waits(call, invoice):
        return
    collecting.finalize(call, invoice, description="Subscription update")
    if standing.collect(call, invoice, standing.card_of(call, subscription)) is None:
        standing.after_payment(call, invoice)
    else:
        standing.after_refusal(call, invoice)


def _counts_usage(call: Call, items: Sequence[Object]) -> bool:
    return any(prices.is_metered(fetch(call, "price", item["price"])) for item in items)


def draft_period(
    call: Call, subscription: Object, items: list[Object], reason: str, *, resets: bool = False
) -> Object | None:
    """Move items on to the period that holds this instant and write its invoice, not finalized yet.

    `resets` says that no period ends by itself, but one begins because of a change.
    The caller saves the subscription. While collection is paused nothing is billed, and None is returned.
    """
    ended = None if resets else (min(item["current_period_start"] for item in items), call.now())
    usage = usage_billing.lines(call, subscription, items)
    move_on(call, subscription, items)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    if subscription["pause_collection"] is not None:
        return None
    moved = [fetch(call, "subscription_item", item["id"]) for item in items]
    return draft(call, subscription, moved, reason, usage, ended)


def draft(
    call: Call,
    subscription: Object,
    items: list[Object],
    reason: str,
    usage: Sequence[LineSource] = (),
    ended: tuple[int, int] | None = None,
) -> Object:
    """Write the invoice for the current period of `items`, after what has been waiting for an invoice.

    `usage` is what meters have counted in the period before, and `ended` that period, if it has ended by itself.
    """
    customer = fetch(call, "customer", subscription["customer"])
    waiting = invoice_items.pending(call, customer["id"], subscription["id"], subscription["currency"])
    sources = [invoice_items.as_line(call, one) for one in waiting]
    ordered = [item for item in items if not prices.is_metered(fetch(call, "price", item["price"]))]
    sources += [recurring(call, item, until=subscription["cancel_at"]) for item in ordered]
    sources += usage
    lines = less_discount(call, subscription, sources)
    invoice = invoices.draft(call, customer, subscription, reason, lines, period=ended)
    discounting.use_up(call, subscription, billed=any(line.off for line in lines))
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def move_on(call: Call, subscription: Object, items: list[Object]) -> None:
    """Give items the period that holds this instant, always counted from the anchor: no month's length shifts the day."""
    for item in items:
        rhythm = fetch(call, "price", item["price"])["recurring"]
        start, end = period_at(subscription["billing_cycle_anchor"], rhythm, call.now())
        call.store.save(item | {"current_period_start": start, "current_period_end": end})


def items_due(call: Call, subscription: Object, at: int) -> list[Object]:
    """Return the items whose period ends at an instant, or has ended before."""
    items = subscription_items.of_subscription(call, subscription["id"])
    return [item for item in items if item["current_period_end"] <= at]
