"""Beginning a subscription, through Checkout or the API: its items, its first invoice, and the payment of that."""

from copy import deepcopy
from dataclasses import dataclass, replace

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoices, subscription_items, subscriptions
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object
from portal.sandbox.wording import unit_price


@dataclass(frozen=True)
class OrderLine:
    """A price that is bought, how many of it, and what a discount takes off the first payment, in the smallest unit."""

    price: Object
    quantity: int
    off: int = 0


@dataclass(frozen=True)
class Order:
    """What a customer subscribes to. `values` are the subscription's own members, `trial_end` is in epoch seconds.

    `discount` is at work on the first invoice, and `discount_lasts` says whether later ones have it too.
    """

    customer: Object
    lines: list[OrderLine]
    payment_method: Object | None
    trial_end: int | None
    values: Values
    discount: Object | None = None
    discount_lasts: bool = False


def begin(call: Call, order: Order) -> tuple[Object, ApiError | None]:
    """Make the subscription with its first invoice and take the money for it.

    Returns the subscription, and the 402 when the bank refused: the subscription is then incomplete, its invoice open.
    """
    subscription = _add(call, order)
    invoice = _first_invoice(call, order, subscription)
    error = None
    if invoice["amount_due"] > 0:
        if order.payment_method is None:
            raise RuntimeError("money is due and there is no payment method")
        error = invoices.take_payment(call, invoice, order.payment_method)
    if error is not None:
        subscription["status"] = "incomplete"
    subscription["latest_invoice"] = invoice["id"]
    call.store.save(subscription)
    events.emit(call, "customer.subscription.created", subscription)
    if error is None:
        invoices.mark_paid(call, invoice)
    else:
        invoices.mark_failed(call, invoice)
    return subscription, error


def _add(call: Call, order: Order) -> Object:
    currency = order.lines[0].price["currency"]
    built = subscriptions.build(call, order.customer["id"], currency, order.trial_end, order.values)
    if order.discount is not None:
        call.store.save(order.discount | {"subscription": built["id"]})
        built["discounts"] = [order.discount["id"]] if order.discount_lasts else []
    subscription = call.store.insert("subscription", built)
    for line in order.lines:
        recurring = line.price["recurring"]
        if recurring is not None:
            end = order.trial_end or add_interval(call.now(), recurring["interval"], recurring["interval_count"])
            item = subscription_items.build(
                call, subscription["id"], line.price["id"], line.quantity, (call.now(), end)
            )
            call.store.insert("subscription_item", item)
    return subscription


def _first_invoice(call: Call, order: Order, subscription: Object) -> Object:
    """Store the finalized first invoice; the customer's currency is settled by it."""
    customer = order.customer
    before = render(call, deepcopy(customer))
    off = {line.price["id"]: line.off for line in order.lines}
    sources = [
        recurring(call, item, free=order.trial_end is not None)
        for item in subscription_items.of_subscription(call, subscription["id"])
    ]
    sources += [once(call, line, subscription["id"]) for line in order.lines if line.price["recurring"] is None]
    if order.discount is not None:
        sources = [discounted(source, off[source.price["id"]], order.discount) for source in sources]
    invoice = invoices.draft(call, customer, subscription, "subscription_create", sources)
    invoices.finalize(call, invoice, customer, description="Subscription creation")
    customer["currency"] = customer["currency"] or subscription["currency"]
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return invoice


def recurring(call: Call, item: Object, *, free: bool = False) -> LineSource:
    """Return the invoice line for the current period of a subscription's item; it is free in a trial."""
    price = fetch(call, "price", item["price"])
    name, quantity = fetch(call, "product", price["product"])["name"], item["quantity"]
    return LineSource(
        price=price,
        quantity=quantity,
        amount=0 if free else price["unit_amount"] * quantity,
        description=f"Trial period for {name}" if free else f"{quantity} \u00d7 {name} (at {unit_price(price)})",
        period=(item["current_period_start"], item["current_period_end"]),
        subscription=item["subscription"],
        subscription_item=item["id"],
    )


def discounted(source: LineSource, off: int, discount: Object) -> LineSource:
    """Return the line with what a discount takes off it, in the smallest unit."""
    return replace(source, off=off, discount=discount["id"])


def once(call: Call, line: OrderLine, subscription_id: str | None) -> LineSource:
    """Return the invoice line of what is bought once."""
    return LineSource(
        price=line.price,
        quantity=line.quantity,
        amount=line.price["unit_amount"] * line.quantity,
        description=fetch(call, "product", line.price["product"])["name"],
        period=(call.now(), call.now()),
        subscription=subscription_id,
    )
