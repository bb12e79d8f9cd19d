"""What a bank says of a debit some time after it was taken: that it pays, or that it does not.

As with disputes, this happens when time next goes by and not in the request that took the debit: whoever listens to
events first gets those of the purchase.
"""

from functools import partial

from portal.sandbox import completion, events, paying
from portal.sandbox.agenda import Due
from portal.sandbox.call import Call
from portal.sandbox.cards import Refusal
from portal.sandbox.debits import Account
from portal.sandbox.instruments import instrument_of
from portal.sandbox.registry import fetch
from portal.sandbox.resources import charges
from portal.sandbox.store import Condition, Object, equals


def due(call: Call) -> list[Due]:
    """Find what banks have decided by now about debits."""
    decided = [equals("status", "pending"), Condition("json_extract(body, '$._settles_at') <= ?", (call.now(),))]
    return [
        Due(charge["_settles_at"], "settle", charge["id"], partial(_settle, charge=charge))
        for charge in call.store.find("charge", decided, oldest_first=True)
    ]


def _settle(call: Call, charge: Object) -> None:
    intent = fetch(call, "payment_intent", charge["payment_intent"])
    payment_method = fetch(call, "payment_method", charge["payment_method"])
    account = instrument_of(payment_method)
    assert isinstance(account, Account)
    if account.refusal is None:
        charge |= {"paid": True, "receipt_url": charges.receipt(call, charge["id"]), "status": "succeeded"}
        call.store.save(charge)
        paying.note_paid(call, intent, charge)
    else:
        _refuse(charge, account.refusal)
        call.store.save(charge)
        paying.note_refused(call, intent, charge, payment_method, account.refusal)
    sessions = call.store.find("checkout.session", [equals("payment_intent", intent["id"])], limit=1)
    if sessions:
        _tell_session(call, sessions[0], intent)


def _refuse(charge: Object, refusal: Refusal) -> None:
    charge |= {
        "amount_captured": 0,
        "captured": False,
        "failure_code": refusal.code,
        "failure_message": refusal.message,
        "outcome": charges.outcome(refusal),
        "status": "failed",
    }


def _tell_session(call: Call, session: Object, intent: Object) -> None:
    """Say on the page's session how it ended; one whose money never came stays complete, and unpaid."""
    if intent["status"] != "succeeded":
        events.emit(call, "checkout.session.async_payment_failed", session)
        return
    customer = fetch(call, "customer", session["customer"], with_deleted=True) if session["customer"] else None
    if customer is not None and customer.get("deleted"):
        customer = None  # Nobody is there any more for whom an invoice could be written.
    discount = fetch(call, "discount", session["_discount"]) if session.get("_discount") else None
    invoice = completion.invoice_for_purchase(call, session, customer, intent, discount)
    session |= {"invoice": invoice, "payment_status": "paid"}
    call.store.save(session)
    events.emit(call, "checkout.session.async_payment_succeeded", session)
