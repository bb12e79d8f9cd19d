"""What a credit note does: it lowers what an open invoice asks for, or gives back what a paid one took."""

from copy import deepcopy

from portal.sandbox import collecting, events, standing
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import customer_balance_transactions, invoice_payments, refunds
from portal.sandbox.store import Object


def left_to_credit(invoice: Object) -> int:
    """Return how much of an invoice has not been credited yet."""
    if invoice["status"] == "open":
        return int(invoice["amount_remaining"])
    given = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    return int(invoice["total"] - given)


def lower(call: Call, invoice: Object, amount: int) -> None:
    """Ask for less on an open invoice (or more again, when a note is void); what asks for nothing is paid."""
    before = render(call, deepcopy(invoice))
    invoice["pre_payment_credit_notes_amount"] += amount
    for name in ("amount_due", "amount_remaining"):
        invoice[name] -= amount
    call.store.save(invoice)
    events.emit_update(call, "invoice.updated", before, invoice)
    payment = invoice_payments.of_invoice(call, invoice["id"])
    if payment is not None and invoice["amount_due"] > 0:
        intent = fetch(call, "payment_intent", payment["payment"]["payment_intent"])
        call.store.save(payment | {"amount_requested": invoice["amount_due"]})
        call.store.save(intent | {"amount": invoice["amount_due"]})
    if invoice["amount_due"] == 0:
        collecting.mark_paid(call, invoice, by_hand=True)
        standing.after_payment(call, invoice)


def give_back(call: Call, invoice: Object, note: Object, values: Values) -> None:
    """Return what a paid invoice took, to its card and to the customer's balance."""
    if values.get("refund_amount"):
        charge = _charge_of(call, invoice)
        refund = refunds.create(call, {"amount": values["refund_amount"], "charge": charge["id"]})
        note["refunds"].append(_entry(refund["id"], refund["amount"]))
    if values.get("credit_amount"):
        _require_balance(call, invoice)
        transaction = customer_balance_transactions.credit(call, note, values["credit_amount"])
        note["customer_balance_transaction"] = transaction["id"]
    before = render(call, deepcopy(invoice))
    invoice["post_payment_credit_notes_amount"] += note["amount"]
    call.store.save(invoice)
    events.emit_update(call, "invoice.updated", before, invoice)


def _require_balance(call: Call, invoice: Object) -> None:
    currency = fetch(call, "customer", invoice["customer"])["currency"]
    if currency not in (None, invoice["currency"]):
        raise invalid(f"The customer's balance is in {currency}, and the invoice is not.", "credit_amount")


def existing_refunds(call: Call, invoice: Object, values: Values) -> list[Object]:
    """Return what refunds that were made before have given back already."""
    entries = []
    for place, sent in enumerate(values.get("refunds", [])):
        param = f"refunds[{place}][refund]"
        if "refund" not in sent:
            raise missing_parameter(param)
        refund = fetch(call, "refund", sent["refund"], param)
        if refund["charge"] != _charge_of(call, invoice)["id"]:
            raise invalid("The refund is one of another payment.", param)
        amount = sent.get("amount_refunded", refund["amount"])
        if amount > refund["amount"] - _noted(call, refund["id"]):
            raise invalid("Credit notes cannot stand for more than was refunded.", f"refunds[{place}][amount_refunded]")
        entries.append(_entry(refund["id"], amount))
    return entries


def _noted(call: Call, refund_id: str) -> int:
    """Return how much of a refund is on credit notes already."""
    entries = [entry for note in call.store.find("credit_note") for entry in note["refunds"]]
    return sum(entry["amount_refunded"] for entry in entries if entry["refund"] == refund_id)


def _charge_of(call: Call, invoice: Object) -> Object:
    payment = invoice_payments.of_invoice(call, invoice["id"])
    if payment is None or payment["status"] != "paid":
        raise invalid("No payment was made for the invoice, so there is nothing to refund.", "refund_amount")
    intent = fetch(call, "payment_intent", payment["payment"]["payment_intent"])
    return fetch(call, "charge", intent["latest_charge"])


def _entry(refund_id: str, amount: int) -> Object:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": refund_id, "type": "refund"}
