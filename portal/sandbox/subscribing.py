"""Beginning a subscription, through Checkout or the API: its items, its first invoice, and the payment of that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portal.sandbox import added_items, collecting, discounting, ending, events, standing, tax_settings
from portal.sandbox.billing_lines import OrderLine, discounted, less_discount, once, recurring
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.parameters import merge_metadata
from portal.sandbox.periods import add_interval, period_at
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, invoices, prices, subscription_items, subscriptions
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.rounding import part_of
from portal.sandbox.store import Object


@dataclass(frozen=True)
class Order:
    """What a customer subscribes to. `values` are the subscription's own members, `trial_end` is in epoch seconds.

    `anchor` is the billing day when it is a later one than that of the beginning: until then a part of a period is billed.
    `discount` is at work on the first invoice, and on later ones for as long as it lasts.
    `added` is what the first invoice bills besides.
    `authenticated` says that the card's bank has asked who is paying already, and `with_waiting` that the first invoice
    takes up what has been waiting for one of the customer's. What a schedule begins (`by_schedule`) has nobody to be
    told that a payment failed or that there is no card: it is past due, and tried again like a renewal.
    """

    customer: Object
    lines: list[OrderLine]
    payment_method: Object | None
    trial_end: int | None
    values: Values
    discount: Object | None = None
    authenticated: bool = False
    with_waiting: bool = True
    added: Sequence[Values] = ()
    anchor: int | None = None
    by_schedule: bool = False

    @property
    def prorates(self) -> bool:
        """Say whether a part of a period is billed as a part."""
        return bool(self.values.get("proration_behavior") != "none")


def check_lines(lines: list[OrderLine]) -> None:
    """Refuse an order of nothing, or in two currencies."""
    if not lines:
        raise invalid("Send at least one item.", "items", "parameter_missing")
    if len({line.price["currency"] for line in lines}) > 1:
        raise invalid("All prices of a subscription must have the same currency.", "items")


def begin(call: Call, order: Order) -> tuple[Object, ApiError | None]:
    """Make the subscription with its first invoice and take the money for it.

    Returns the subscription, and the error when the payment was refused: the invoice is then open, the subscription
    incomplete, or past due if a schedule has begun it.
    With `payment_behavior=default_incomplete` no card is asked; the intent of the invoice waits to be confirmed.
    """
    subscription = add(call, order)
    invoice = first_invoice(call, order, subscription)
    collecting.finalize(call, invoice, description="Subscription creation")
    waits = invoice["amount_due"] > 0 and order.values.get("payment_behavior") == "default_incomplete"
    error = None
    if invoice["amount_due"] > 0 and not waits:
        # Who begins with nothing to pay needs no card, so only now is one looked for.
        card = order.payment_method or standing.card_of(call, subscription)
        if card is not None:
            error = collecting.take_payment(call, invoice, card, authenticated=order.authenticated)
        elif order.by_schedule:
            error = standing.NO_CARD
        else:
            raise standing.NO_CARD
        if card is not None and error is None and standing.keeps_card(subscription):
            subscription["default_payment_method"] = card["id"]
    if waits or error is not None:
        subscription["status"] = "past_due" if order.by_schedule else "incomplete"
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
        events.emit(call, "customer.discount.created", call.store.save(order.discount | {"subscription": built["id"]}))
        built["discounts"] = [order.discount["id"]]
    if "discounts" in order.values:
        cost = sum(prices.cost(line.price, line.quantity) for line in order.lines)
        discounting.give(call, built, order.values["discounts"], cost)
    tax_settings.check(tax_settings.terms_of(built), [line.tax_rates for line in order.lines])
    built["billing_cycle_anchor"] = order.anchor or built["billing_cycle_anchor"]
    subscription = call.store.insert("subscription", built)
    for line in order.lines:
        if line.price["recurring"] is not None:
            call.store.insert("subscription_item", _item(call, order, subscription, line))
    added_items.add(call, subscription, list(order.added))
    if ending.schedule(call, subscription, order.values):
        call.store.save(subscription)
    return subscription


def _item(call: Call, order: Order, subscription: Object, line: OrderLine) -> Object:
    rhythm, whole = line.price["recurring"], None
    if order.trial_end is not None:
        end = order.trial_end
    elif order.anchor is not None:
        whole = period_at(order.anchor, rhythm, call.now())
        end = whole[1]
    else:
        end = add_interval(call.now(), rhythm["interval"], rhythm["interval_count"])
    item = subscription_items.build(
        call, subscription["id"], line.price["id"], line.quantity, (call.now(), end), line.tax_rates
    )
    return item | {"metadata": merge_metadata({}, line.metadata)} | ({"_whole": whole} if whole else {})


def _first_period(call: Call, order: Order, subscription: Object, item: Object) -> LineSource:
    """Return the line for the time until the first whole period: a part of one, unless nothing is prorated."""
    source = recurring(
        call, item, free=order.trial_end is not None, until=subscription["cancel_at"] if order.prorates else None
    )
    if "_whole" not in item:
        return source
    cost, (start, end) = prices.cost(fetch(call, "price", item["price"]), item["quantity"]), item["_whole"]
    part = part_of(cost, source.period[1] - source.period[0], end - start)
    return replace(source, amount=part if order.prorates else 0)


def first_invoice(call: Call, order: Order, subscription: Object) -> Object:
    """Store the draft of the first invoice, with what has been waiting for an invoice of the customer."""
    off = {line.price["id"]: line.off for line in order.lines}
    sources = []
    if order.with_waiting:
        waiting = invoice_items.pending(call, order.customer["id"], subscription["id"], subscription["currency"])
        sources = [invoice_items.as_line(call, one) for one in waiting]
    items = subscription_items.of_subscription(call, subscription["id"])
    # Nothing was used yet: in flexible billing there is no line for that.
    ordered = [item for item in items if not prices.is_metered(fetch(call, "price", item["price"]))]
    sources += [_first_period(call, order, subscription, item) for item in ordered or items]
    sources += [once(call, line, subscription["id"]) for line in order.lines if line.price["recurring"] is None]
    if order.discount is None:
        sources = less_discount(call, subscription, sources)
    else:
        sources = [discounted(one, off[one.price["id"]] if one.price else 0, order.discount) for one in sources]
    invoice = invoices.draft(call, order.customer, subscription, "subscription_create", sources)
    discounting.use_up(call, subscription, billed=bool(invoice["discounts"]))
    return invoice
