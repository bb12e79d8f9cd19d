"""Paying a Checkout Session: everything that comes into being when the card is taken.

In subscription mode nothing is written before the bank has said yes, so a declined card leaves nothing behind. In
payment mode the intent outlives a decline with its failed charge, and the next try uses it again.
"""

from copy import deepcopy
from dataclasses import dataclass

from portal.sandbox import checkout_opening, checkout_setup, checkout_taxes, collecting, discounting, events, paying
from portal.sandbox.addresses import shipping
from portal.sandbox.billing_lines import OrderLine, discounted, once
from portal.sandbox.call import Call
from portal.sandbox.cards import Card
from portal.sandbox.customer_time import call_for
from portal.sandbox.debits import Account
from portal.sandbox.errors import ApiError
from portal.sandbox.instruments import instrument_of
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import (
    checkout_items,
    customers,
    invoices,
    payment_intents,
    payment_methods,
)
from portal.sandbox.store import Object
from portal.sandbox.subscribing import Order, begin


@dataclass(frozen=True)
class Payer:
    """What the person at the hosted page entered: a card, an account, or neither when nothing is due."""

    email: str
    name: str | None = None
    card: Card | None = None
    exp_month: int = 12
    exp_year: int = 2099
    account: Account | None = None


def payer_of(payment_method: Object, email: str) -> Payer:
    """Return who pays with a payment method that was made before, as if it had been entered."""
    instrument, name = instrument_of(payment_method), payment_method["billing_details"]["name"]
    if isinstance(instrument, Account):
        return Payer(email, name, account=instrument)
    card = payment_method["card"]
    return Payer(email, name, instrument, card["exp_month"], card["exp_year"])


def complete(call: Call, session: Object, payer: Payer) -> ApiError | None:
    """Pay an open session. Returns None when it is complete, or why nothing was charged: the bank refused the card,
    the code that was entered was used up meanwhile, or another tax is due.
    """
    if session["mode"] == "setup":
        return _set_up(call, session, payer)
    gone = discounting.check(call, session) or checkout_taxes.check(call, session)
    if gone is not None:
        return gone
    if session["mode"] == "subscription":
        return _subscribe(call, session, payer)
    return _buy(call, session, payer)


def _subscribe(call: Call, session: Object, payer: Payer) -> ApiError | None:
    if payer.card is not None:
        refusal = payer.card.on_setup or (payer.card.on_charge if session["amount_total"] else None)
        if refusal is not None:
            return payment_methods.refuse(refusal)
    customer = _customer(call, session, payer)
    wall, call = call, call_for(call, customer)
    payment_method = _save_card(call, payer, customer)
    data = session["_subscription_data"]
    discount = discounting.redeem(call, session)
    order = Order(
        customer=customer,
        lines=_order_lines(call, session),
        payment_method=payment_method,
        trial_end=checkout_opening.trial_end_of(call, data),
        values=data
        | {
            "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]},
            "default_payment_method": payment_method["id"] if payment_method else None,
        },
        discount=discount,
        authenticated=True,
        # What was shown is what is paid.
        with_waiting=False,
    )
    subscription, error = begin(call, order)
    if error is not None:
        # The card was asked before anything was written, so this cannot happen; if it does, all is taken back.
        raise RuntimeError("a card that was accepted was then refused")
    links = {"customer": customer["id"], "invoice": subscription["latest_invoice"], "subscription": subscription["id"]}
    _close(wall, session, payer, links)
    return None


def _set_up(call: Call, session: Object, payer: Payer) -> ApiError | None:
    payment_method = _new_method(call, payer)
    assert payment_method is not None
    assert payer.card is not None
    person = {"email": payer.email, "name": payer.name}
    refused = payer.card.on_setup is not None
    customer_id, error = checkout_setup.save(call, session, payment_method, person, refused)
    if error is None:
        _close(call, session, payer, {"customer": customer_id})
    return error


def _order_lines(call: Call, session: Object) -> list[OrderLine]:
    items = checkout_items.of_session(call, session["id"])
    return [
        OrderLine(
            fetch(call, "price", item["price"]), item["quantity"], item["amount_discount"], tuple(item["_tax_rates"])
        )
        for item in items
    ]


def _buy(call: Call, session: Object, payer: Payer) -> ApiError | None:
    customer = _buyer(call, session, payer)
    payment_method = _new_method(call, payer)
    links: Object = {"customer": customer["id"] if customer else None}
    intent = None
    if payment_method is not None:  # It is asked for when something is due, and only then.
        intent = _intent_of(call, session, customer)
        error = paying.pay(call, intent, payment_method)
        if error is not None:
            session["payment_intent"] = intent["id"]
            call.store.save(session)
            return error
        links["payment_intent"] = intent["id"]
        if customer is not None and "setup_future_usage" in session["_payment_intent_data"]:
            payment_methods.attach_to(call, payment_method, customer)
    discount = discounting.redeem(call, session)
    if intent is not None and intent["status"] == "processing":
        session["_discount"] = discount["id"] if discount else None
    else:
        links["invoice"] = invoice_for_purchase(call, session, customer, intent, discount)
    _close(call, session, payer, links)
    return None


def _buyer(call: Call, session: Object, payer: Payer) -> Object | None:
    """Return the customer of a purchase, if it is to have one; a refused card makes and changes none."""
    if payer.card is not None and payer.card.on_charge is not None:
        return fetch(call, "customer", session["customer"]) if session["customer"] else None
    wanted = (
        session["customer"] is not None
        or session["customer_creation"] == "always"
        or session["invoice_creation"]["enabled"]
        or "setup_future_usage" in session["_payment_intent_data"]
    )
    return _customer(call, session, payer) if wanted else None


def invoice_for_purchase(
    call: Call, session: Object, customer: Object | None, intent: Object | None, discount: Object | None
) -> str | None:
    """Write the paid invoice for a purchase that asks for one, once the money is there; returns its id."""
    if customer is None or not session["invoice_creation"]["enabled"]:
        return None
    lines = _order_lines(call, session)
    sources = [once(call, line, None) for line in lines]
    if discount is not None:
        sources = [discounted(source, line.off, discount) for source, line in zip(sources, lines, strict=True)]
    tax = checkout_taxes.terms_of(session)
    invoice = invoices.draft(call, customer, None, "manual", sources, tax=tax)
    data = session["invoice_creation"]["invoice_data"]
    invoice |= {"description": data["description"], "metadata": dict(data["metadata"] or {})}
    collecting.finalize(call, invoice, intent=intent)
    collecting.mark_paid(call, invoice)
    return str(invoice["id"])


def _customer(call: Call, session: Object, payer: Payer) -> Object:
    """Return the session's customer, brought up to date, or a new one."""
    if session["customer"] is None:
        return customers.add(call, {"address": session["_address"], "email": payer.email, "name": payer.name})
    customer = fetch(call, "customer", session["customer"])
    before = render(call, deepcopy(customer))
    customer["email"] = customer["email"] or payer.email
    if session["_customer_update"].get("name") == "auto" and payer.name:
        customer["name"] = payer.name
    if session["_customer_update"].get("address") == "auto" and session["_address"]:
        customer["address"] = session["_address"]
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return customer


def _new_method(call: Call, payer: Payer) -> Object | None:
    instrument = payer.card or payer.account
    if instrument is None:
        return None
    billing = {"email": payer.email, "name": payer.name}
    built = payment_methods.build(call, instrument, payer.exp_month, payer.exp_year, billing)
    return call.store.insert("payment_method", built)


def _save_card(call: Call, payer: Payer, customer: Object) -> Object | None:
    payment_method = _new_method(call, payer)
    return payment_methods.attach_to(call, payment_method, customer) if payment_method else None


def intent_to_authenticate(call: Call, session: Object, payer: Payer) -> tuple[Object, Object]:
    """Return the intent of a purchase and the card that is to pay it, before its bank has been asked."""
    payment_method = _new_method(call, payer)
    assert payment_method is not None
    return _intent_of(call, session, _buyer(call, session, payer)), payment_method


def _intent_of(call: Call, session: Object, customer: Object | None) -> Object:
    """Return the intent of a payment session: that of an earlier declined try, or a new one."""
    customer_id = customer["id"] if customer else None
    if session["payment_intent"] is not None:
        intent = fetch(call, "payment_intent", session["payment_intent"])
        return intent | {"amount": session["amount_total"], "customer": customer_id}
    data = session["_payment_intent_data"]
    names = ("capture_method", "description", "receipt_email", "setup_future_usage")
    members = {name: data[name] for name in names if name in data}
    members["shipping"] = shipping(data.get("shipping"))
    metadata = {key: value for key, value in (data.get("metadata") or {}).items() if value is not None}
    built = payment_intents.build(
        call,
        session["amount_total"],
        session["currency"],
        customer=customer_id,
        metadata=metadata,
        payment_method_types=list(session["payment_method_types"]),
        **members,
    )
    return payment_intents.add(call, built)


def _close(call: Call, session: Object, payer: Payer, links: Object) -> None:
    """Mark the session complete and tell of it."""
    session |= links
    paid = "unpaid" if payer.account is not None else "paid"
    session |= {
        "customer_details": checkout_opening.customer_details(payer.email, payer.name, session["_address"]),
        "payment_status": paid if session["amount_total"] else "no_payment_required",
        "status": "complete",
        "url": None,
    }
    call.store.save(session)
    events.emit(call, "checkout.session.completed", session)
