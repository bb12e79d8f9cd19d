"""Customer balance transactions: a change of what a customer has as credit. Credit notes are what makes them."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.store import Object


def credit(call: Call, note: Object, amount: int) -> Object:
    """Give a customer credit by a credit note. A balance below zero is credit, as at Stripe."""
    customer = fetch(call, "customer", note["customer"])
    before = render(call, deepcopy(customer))
    customer["balance"] -= amount
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    transaction = {
        "id": ids.new_id("cbtxn"),
        "object": "customer_balance_transaction",
        "amount": -amount,
        "checkout_session": None,
        "created": call.now(),
        "credit_note": note["id"],
        "currency": note["currency"],
        "customer": customer["id"],
        "customer_account": None,
        "description": None,
        "ending_balance": customer["balance"],
        "invoice": note["invoice"],
        "livemode": False,
        "metadata": {},
        "type": "credit_note",
    }
    return call.store.insert("customer_balance_transaction", transaction)


_SHAPE = {name: Reference(name) for name in ("credit_note", "customer", "invoice")}
register(Resource("customer_balance_transaction", "customer balance transaction", _SHAPE))
ENDPOINTS: tuple[Endpoint, ...] = ()
