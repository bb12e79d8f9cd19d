"""Beginning a subscription, through Checkout or the API: its items, its first invoice, and the payment of that."""

from collections.abc import Sequence
from dataclasses import dataclass

from portal.sandbox import added_items, collecting, discounting, events, standing, tax_settings
from portal.sandbox.billing_lines import OrderLine, discounted, less_discount, once, recurring
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, invoices, prices, subscription_items, subscriptions
from portal.sandbox.store import Object


@dataclass(frozen=True)
class Order:
    """What a customer subscribes to. `values` are the subscription's own members, `trial_end` is in epoch seconds.

    `discount` is at work on the first invoice, and `discount_lasts` says whether later ones have it too.
    `added` is what the first invoice bills besides.
    `authenticated` says that the card's bank has asked who is paying already, and `with_waiting` that the first invoice
    takes up what has been waiting for one of the customer's.
    """

    customer: Object
    lines: list[OrderLine]
    payment_method: Object | None
    trial_end: int | None
    values: Values
    discount: Object | None = None
    discount_lasts: bool = False
    authenticated: bool = False
    with_waiting: bool = True
    added: Sequence[Values] = ()


def check_lines(lines: list[OrderLine]) -> None:
    """Refuse an order of nothing, or in two currencies."""
    if not lines:
        raise invalid("Send at least one item.", "items", "parameter_missing")
    if len({line.price["currency"] for line in lines}) > 1:
        raise invalid("All prices of a subscription must have the same currency.", "items")


def begin(call: Call, order: Order) -> tuple[Object, ApiError | None]:
    """Make the subscription with its first invoice and take the money for it.

    Returns the subscription, and the 402 when the bank refused: the subscription is then incomplete, its invoice open.
    With `payment_behavior=default_incomplete` no card is asked; the intent of the invoice waits to be confirmed.
    """
    subscription = add(call, order)
    invoice = first_invoice(call, order, subscription)
    collecting.finalize(call, invoice, description="Subscription creation")
    waits = invoice["amount_due"] > 0 and order.values.get("payment_behavior") == "default_incomplete"
    error = None
    if invoice["amount_due"] > 0 and not waits:
        # Of a plan that costs nothing yet nobody has named a card, and yet something may have been waiting.
        card = order.payment_method or standing.card_of(call, subscription)
        if card is None:
            raise standing.NO_CARD
        error = collecting.take_payment(call, invoice, card, authenticated=order.authenticated)
    if waits or error is not None:
        subscription["status"] = "incomplete"
    subscription["latest_invoice"] = invoice["id"]
    call.store.save(subscription)
    events.emit(call, "customer.subscription.created", subscription)
    if error is not None:
        collecting.mark_failed(call, invoice, error)
    elif not waits:
        collecting.mark_paid(call, invoice)
    return subscription, error


def add(call: Call, order: Order) -> Object:
    """Store the subscription and its items."""
    currency = order.lines[0].price["currency"]
    built = subscriptions.build(call, order.customer["id"], currency, order.trial_end, order.values)
    if order.discount is not None:
        call.store.save(order.discount | {"subscription": built["id"]})
        built["discounts"] = [order.discount["id"]] if order.discount_lasts else []
    if "discounts" in order.values:
        discounting.give(call, built, order.values["discounts"])
    tax_settings.check(tax_settings.terms_of(built), [line.tax_rates for line in order.lines])
    subscription = call.store.insert("subscription", built)
    for line in order.lines:
        rhythm = line.price["recurring"]
        if rhythm is not None:
            end = order.trial_end or add_interval(call.now(), rhythm["interval"], rhythm["interval_count"])
            item = subscription_items.build(
                call, subscription["id"], line.price["id"], line.quantity, (call.now(), end), line.tax_rates
            )
            call.store.insert("subscription_item", item)
    added_items.add(call, subscription, list(order.added))
    return subscription


def first_invoice(call: Call, order: Order, subscription: Object) -> Object:
    """Store the draft of the first invoice, with what has been waiting for an invoice of the customer."""
    off = {line.price["id"]: line.off for line in order.lines}
    sources = []
    if order.with_waiting:
        waiting = invoice_items.pending(call, order.customer["id"], subscription["id"])
        sources = [invoice_items.as_line(call, one) for one in waiting]
    items = subscription_items.of_subscription(call, subscription["id"])
    # Nothing was used yet: in flexible billing there is no line for that.
    ordered = [item for item in items if not prices.is_metered(fetch(call, "price", item["price"]))]
    sources += [recurring(call, item, free=order.trial_end is not None) for item in ordered or items]
    sources += [once(call, line, subscription["id"]) for line in order.lines if line.price["recurring"] is None]
    if order.discount is None:
        sources = less_discount(call, subscription, sources)
    else:
        sources = [discounted(one, off[one.price["id"]] if one.price else 0, order.discount) for one in sources]
    invoice = invoices.draft(call, order.customer, subscription, "subscription_create", sources)
    if order.discount is None and invoice["discounts"]:
        discounting.use_up(call, subscription)
    return invoice
