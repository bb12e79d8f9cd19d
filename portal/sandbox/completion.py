"""Paying a Checkout Session: everything that comes into being when the card is taken.

In subscription mode nothing is written before the bank has said yes, so a declined card leaves nothing behind. In
payment mode the intent outlives a decline with its failed charge, and the next try uses it again.
"""

from copy import deepcopy
from dataclasses import dataclass

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.cards import Card
from portal.sandbox.errors import ApiError
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import (
    checkout_items,
    checkout_sessions,
    customers,
    invoices,
    payment_intents,
    payment_methods,
    subscription_items,
    subscriptions,
)
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object
from portal.sandbox.wording import unit_price


@dataclass(frozen=True)
class Payer:
    """What the person at the hosted page entered. `card` is None when no card was asked for."""

    email: str
    name: str | None = None
    card: Card | None = None
    exp_month: int = 12
    exp_year: int = 2099


def complete(call: Call, session: Object, payer: Payer) -> ApiError | None:
    """Pay an open session. Returns None when it is complete, or the 402 when the bank refused the card."""
    if session["mode"] == "subscription":
        return _subscribe(call, session, payer)
    return _buy(call, session, payer)


def _subscribe(call: Call, session: Object, payer: Payer) -> ApiError | None:
    due = session["amount_total"]
    if payer.card is not None:
        refusal = payer.card.on_setup or (payer.card.on_charge if due else None)
        if refusal is not None:
            return payment_methods.refuse(refusal)
    customer = _customer(call, session, payer)
    payment_method = _save_card(call, payer, customer)
    subscription = _new_subscription(call, session, customer, payment_method)
    sources = _sources(call, session, subscription)
    invoice, intent = _settle(call, session, customer, subscription, payment_method, sources, "subscription_create")
    subscription["latest_invoice"] = invoice["id"]
    call.store.save(subscription)
    events.emit(call, "customer.subscription.created", subscription)
    invoices.mark_paid(call, invoice, intent)
    _close(
        call,
        session,
        payer,
        {"customer": customer["id"], "invoice": invoice["id"], "subscription": subscription["id"]},
    )
    return None


def _buy(call: Call, session: Object, payer: Payer) -> ApiError | None:
    data, card = session["_payment_intent_data"], payer.card
    wants_customer = session["customer"] or session["customer_creation"] == "always" or "setup_future_usage" in data
    customer = None
    if wants_customer and (session["customer"] or card is None or card.on_charge is None):
        customer = _customer(call, session, payer)
    payment_method, intent = None, None
    if card is not None:
        payment_method = _new_card(call, payer)
    if payment_method is not None and session["amount_total"] > 0:
        intent = _intent_of(call, session, customer)
        error = payment_intents.pay(call, intent, payment_method)
        if error is not None:
            call.store.save(session | {"payment_intent": intent["id"]})
            return error
    if customer is not None and payment_method is not None and "setup_future_usage" in data:
        payment_methods.attach_to(call, payment_method, customer)
    links = {"customer": customer["id"] if customer else None, "payment_intent": intent["id"] if intent else None}
    if session["invoice_creation"]["enabled"] and customer is not None:
        links["invoice"] = _invoice_for_purchase(call, session, customer, intent)
    _close(call, session, payer, links)
    return None


def _invoice_for_purchase(call: Call, session: Object, customer: Object, intent: Object | None) -> str:
    invoice = invoices.draft(call, customer, None, "manual", _sources(call, session, None))
    data = session["invoice_creation"]["invoice_data"]
    invoice |= {"description": data["description"], "metadata": dict(data["metadata"] or {})}
    before = render(call, deepcopy(customer))
    invoices.finalize(call, invoice, customer)
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    invoices.mark_paid(call, invoice, intent)
    return str(invoice["id"])


def _customer(call: Call, session: Object, payer: Payer) -> Object:
    """Return the session's customer, brought up to date, or a new one."""
    if session["customer"] is None:
        return customers.add(call, {"email": payer.email, "name": payer.name})
    customer = fetch(call, "customer", session["customer"])
    before = render(call, deepcopy(customer))
    customer["email"] = customer["email"] or payer.email
    if session["_customer_update"].get("name") == "auto" and payer.name:
        customer["name"] = payer.name
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return customer


def _new_card(call: Call, payer: Payer) -> Object | None:
    if payer.card is None:
        return None
    billing = {"email": payer.email, "name": payer.name}
    built = payment_methods.build(call, payer.card, payer.exp_month, payer.exp_year, billing)
    return call.store.insert("payment_method", built)


def _save_card(call: Call, payer: Payer, customer: Object) -> Object | None:
    payment_method = _new_card(call, payer)
    return payment_methods.attach_to(call, payment_method, customer) if payment_method else None


def _new_subscription(call: Call, session: Object, customer: Object, payment_method: Object | None) -> Object:
    data = session["_subscription_data"]
    trial_end = checkout_sessions.trial_end_of(call, data)
    values = data | {"default_payment_method": payment_method["id"] if payment_method else None}
    built = subscriptions.build(call, customer["id"], session["currency"], trial_end, values)
    subscription = call.store.insert("subscription", built)
    for line in checkout_items.of_session(call, session["id"]):
        price = fetch(call, "price", line["price"])
        if price["recurring"] is None:
            continue
        period = (call.now(), trial_end or _period_end(call.now(), price))
        item = subscription_items.build(call, subscription["id"], price["id"], line["quantity"], period)
        call.store.insert("subscription_item", item)
    return subscription


def _period_end(start: int, price: Object) -> int:
    recurring = price["recurring"]
    return add_interval(start, recurring["interval"], recurring["interval_count"])


def _sources(call: Call, session: Object, subscription: Object | None) -> list[LineSource]:
    """Return what the invoice bills: the subscription's items for their period, then what is bought once."""
    items = subscription_items.of_subscription(call, subscription["id"]) if subscription else []
    trial = subscription is not None and subscription["trial_end"] is not None
    sources = []
    for item in items:
        price = fetch(call, "price", item["price"])
        sources.append(_recurring_source(call, price, item, trial=trial))
    for line in checkout_items.of_session(call, session["id"]):
        price = fetch(call, "price", line["price"])
        if price["recurring"] is None:
            sources.append(
                LineSource(
                    price=price,
                    quantity=line["quantity"],
                    amount=line["amount_total"],
                    description=line["description"],
                    period=(call.now(), call.now()),
                    subscription=subscription["id"] if subscription else None,
                )
            )
    return sources


def _recurring_source(call: Call, price: Object, item: Object, *, trial: bool) -> LineSource:
    name = fetch(call, "product", price["product"])["name"]
    quantity = item["quantity"]
    return LineSource(
        price=price,
        quantity=quantity,
        amount=0 if trial else price["unit_amount"] * quantity,
        description=f"Trial period for {name}" if trial else f"{quantity} \u00d7 {name} (at {unit_price(price)})",
        period=(item["current_period_start"], item["current_period_end"]),
        subscription=item["subscription"],
        subscription_item=item["id"],
    )


def _settle(
    call: Call,
    session: Object,
    customer: Object,
    subscription: Object,
    payment_method: Object | None,
    sources: list[LineSource],
    billing_reason: str,
) -> tuple[Object, Object | None]:
    """Draft and finalize the first invoice and take the money for it; returns the open invoice and its intent."""
    before = render(call, deepcopy(customer))
    invoice = invoices.draft(call, customer, subscription, billing_reason, sources)
    invoices.finalize(call, invoice, customer)
    intent = None
    if invoice["amount_due"] > 0 and payment_method is not None:
        intent = payment_intents.build(
            call,
            invoice["amount_due"],
            session["currency"],
            automatic_payment_methods=None,
            capture_method="automatic",
            customer=customer["id"],
            description="Subscription creation",
            payment_details={"customer_reference": None, "order_reference": invoice["id"]},
            setup_future_usage="off_session",
        )
        payment_intents.add(call, intent)
        error = payment_intents.pay(call, intent, payment_method)
        if error is not None:
            # The card was asked before anything was written, so this cannot happen; if it does, all is taken back.
            raise RuntimeError("a card that was accepted was then refused")
    customer["currency"] = customer["currency"] or session["currency"]
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return invoice, intent


def _intent_of(call: Call, session: Object, customer: Object | None) -> Object:
    """Return the intent of a payment session: that of an earlier declined try, or a new one."""
    customer_id = customer["id"] if customer else None
    if session["payment_intent"] is not None:
        intent = fetch(call, "payment_intent", session["payment_intent"])
        return intent | {"customer": customer_id}
    data = session["_payment_intent_data"]
    names = ("capture_method", "description", "receipt_email", "setup_future_usage")
    members = {name: data[name] for name in names if name in data}
    metadata = {key: value for key, value in (data.get("metadata") or {}).items() if value is not None}
    built = payment_intents.build(
        call, session["amount_total"], session["currency"], customer=customer_id, metadata=metadata, **members
    )
    return payment_intents.add(call, built)


def _close(call: Call, session: Object, payer: Payer, links: Object) -> None:
    """Mark the session complete and tell of it."""
    session |= links
    session |= {
        "customer_details": checkout_sessions.customer_details(payer.email, payer.name),
        "payment_status": "paid" if session["amount_total"] > 0 else "no_payment_required",
        "status": "complete",
        "url": None,
    }
    call.store.save(session)
    events.emit(call, "checkout.session.completed", session)
