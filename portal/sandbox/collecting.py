"""Taking the money for an invoice: it is finalized, a card is charged, and it is paid, refused, or given up."""

from copy import deepcopy

from portal.sandbox import customer_balance, dunning, events, paying, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.errors import ApiError, CardError
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoice_payments, invoices, payment_intents, payment_methods, tax_ids
from portal.sandbox.store import Object, equals


class ActionRequiredError(CardError):
    """The card's bank wants to ask a person who is not there; the intent waits for the answer."""

    def __init__(self, intent: Object) -> None:
        super().__init__(
            "The card's bank asks who is paying. Complete the payment with the invoice's payment intent.",
            code="invoice_payment_intent_requires_action",
            decline_code=None,
            extra={"payment_intent": intent},
        )


def finalize(call: Call, invoice: Object, *, description: str | None = None, intent: Object | None = None) -> Object:
    """Give a draft its number, its page and the intent that is to pay it, and tell of it.

    The customer's balance and sequence move on, and a subscription settles the customer's currency. An `intent` that
    has paid already is taken over, otherwise one is made when money is due.
    """
    customer = fetch(call, "customer", invoice["customer"])
    before, now = render(call, deepcopy(customer)), call.now()
    if invoice["automatic_tax"]["status"] == "requires_location_inputs":
        invoices.tax_again(call, invoice, tax_settings.terms_of(invoice))  # Somebody may have said it meanwhile.
    if invoice["automatic_tax"]["status"] == "requires_location_inputs":
        _give_up_tax(call, invoice)
    held = customer_balance.held(customer, invoice["currency"])
    due, balance = customer_balance.apply(invoice["total"], held)
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "auto_advance": False,
        "customer_tax_ids": tax_ids.on_invoice(call, customer["id"]),
        "effective_at": now,
        "ending_balance": balance,
        "hosted_invoice_url": call.link(f"/i/{invoice['id']}"),
        "invoice_pdf": call.link(f"/i/{invoice['id']}/pdf"),
        "number": f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
        "rendering": invoices.rendered(invoice),
        "starting_balance": held,
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    call.store.save(invoice)
    events.emit(call, "invoice.finalized", invoice)
    if intent is None and due > 0:
        intent = payment_intents.add(call, _intent_for(call, invoice, description))
    if intent is not None:
        call.store.insert("invoice_payment", invoice_payments.build(call, invoice, intent))
    customer["next_invoice_sequence"] += 1
    customer["balance"] += balance - held
    if invoice["parent"] is not None:
        customer["currency"] = customer["currency"] or invoice["currency"]
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)
    return invoice


def _give_up_tax(call: Call, invoice: Object) -> None:
    """Bill a subscription without tax from now on, because nobody knows where the customer is.

    Raises the 400 for an invoice made by hand: whoever finalizes it can be told.
    """
    subscription = invoices.subscription_of(call, invoice)
    if subscription is None:
        raise tax_settings.unknown_location()
    off = {"enabled": False, "liability": None}
    invoice["automatic_tax"] |= off | {
        "disabled_reason": "finalization_requires_location_inputs",
        "provider": None,
        "status": None,
    }
    before = render(call, deepcopy(subscription))
    subscription["automatic_tax"] = off | {"disabled_reason": "requires_location_inputs"}
    call.store.save(subscription)
    events.emit_update(call, "customer.subscription.updated", before, subscription)


def _intent_for(call: Call, invoice: Object, description: str | None) -> Object:
    return payment_intents.build(
        call,
        invoice["amount_due"],
        invoice["currency"],
        automatic_payment_methods=None,
        capture_method="automatic",
        customer=invoice["customer"],
        description=description,
        payment_details={"customer_reference": None, "order_reference": invoice["id"]},
        setup_future_usage="off_session",
    )


def intent_of(call: Call, invoice: Object) -> Object | None:
    """Return the intent that pays an invoice, or None when nothing was due on it."""
    payment = invoice_payments.of_invoice(call, invoice["id"])
    return fetch(call, "payment_intent", payment["payment"]["payment_intent"]) if payment else None


def take_payment(
    call: Call, invoice: Object, payment_method: Object, *, authenticated: bool = False
) -> ApiError | None:
    """Charge a card for an open invoice; returns the 402 when the bank refused. The invoice itself is not touched.

    `authenticated` says that the bank has asked who is paying, and was answered.
    """
    intent = intent_of(call, invoice)
    if intent is None:
        raise RuntimeError(f"nothing is due on the invoice {invoice['id']}")
    if not authenticated and payment_methods.asks_for(payment_method):
        page = call.link(f"/i/{invoice['id']}/authenticate")
        paying.require_action(call, intent, payment_method, page)
        return ActionRequiredError(render(call, intent))
    return paying.pay(call, intent, payment_method)


def mark_paid(call: Call, invoice: Object, *, by_hand: bool = False) -> Object:
    """Close an invoice whose intent has paid, or on which nothing was due, and tell of it.

    `by_hand` says that no payment was seen, only somebody's word for it: its intent must not be paid after that. One
    that is paid already stays as it is.
    """
    if invoice["status"] == "paid":
        return invoice
    if by_hand:
        _give_up_payment(call, invoice, None)
    payment, before = invoice_payments.of_invoice(call, invoice["id"]), render(call, deepcopy(invoice))
    tried = before["attempted"]
    invoice |= {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempt_count": invoice["attempt_count"] or (1 if payment and not by_hand else 0),
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = call.now()
    invoice.pop("status_details", None)
    call.store.save(invoice)
    if payment is not None and not by_hand:
        payment |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        payment["status_transitions"]["paid_at"] = call.now()
        call.store.save(payment)
    _note_delinquency(call, invoice, delinquent=False)
    if tried:
        events.emit_update(call, "invoice.updated", before, invoice)
    events.emit(call, "invoice.paid", invoice)
    if not by_hand:
        events.emit(call, "invoice.payment_succeeded", invoice)
    if payment is not None and not by_hand:
        events.emit(call, "invoice_payment.paid", payment)
    return invoice


def mark_failed(call: Call, invoice: Object, error: ApiError | None, *, by_clock: bool = True) -> Object:
    """Note on an open invoice that a payment was refused, when the next one is due, and tell of it.

    Only the first try and those of the clock are counted: what somebody tries in between changes nothing in the plan,
    and what somebody tries on an invoice that was written off does not bring it back.
    """
    before = render(call, deepcopy(invoice))
    counted = invoice["status"] == "open" and (by_clock or not invoice["attempted"])
    invoice |= {"attempt_count": invoice["attempt_count"] + counted, "attempted": True}
    if counted:
        invoice.setdefault("_first_tried_at", call.now())
        invoice["next_payment_attempt"] = dunning.next_attempt(call, invoice)
        invoice["auto_advance"] = invoice["next_payment_attempt"] is not None
    call.store.save(invoice)
    if by_clock:
        _note_delinquency(call, invoice, delinquent=True)
    events.emit_update(call, "invoice.updated", before, invoice)
    events.emit(call, "invoice.payment_failed", invoice)
    if isinstance(error, ActionRequiredError):
        events.emit(call, "invoice.payment_action_required", invoice)
    return invoice


def _note_delinquency(call: Call, invoice: Object, *, delinquent: bool) -> None:
    """Note on a customer whether the newest of what became of any of their invoices was a payment that failed."""
    customer = call.store.get("customer", invoice["customer"])
    if customer is None or customer.get("deleted") or customer["delinquent"] == delinquent:
        return
    before = render(call, deepcopy(customer))
    customer["delinquent"] = delinquent
    call.store.save(customer)
    events.emit_update(call, "customer.updated", before, customer)


def stop(call: Call, invoice: Object) -> None:
    """Try an open invoice no more by itself."""
    before = render(call, deepcopy(invoice))
    call.store.save(invoice | {"auto_advance": False, "next_payment_attempt": None})
    invoice |= {"auto_advance": False, "next_payment_attempt": None}
    events.emit_update(call, "invoice.updated", before, invoice)


def open_invoices(call: Call, subscription_id: str) -> list[Object]:
    """Return the invoices of a subscription that wait for their payment, oldest first."""
    of_it = equals("parent.subscription_details.subscription", subscription_id)
    return call.store.find("invoice", [of_it, equals("status", "open")], oldest_first=True)


def stop_all_of(call: Call, subscription_id: str) -> None:
    """Try the open invoices of a subscription no more by themselves."""
    for invoice in open_invoices(call, subscription_id):
        stop(call, invoice)


def void(call: Call, invoice: Object) -> Object:
    """Make an invoice as if it had never been: nothing is due on it, and the balance it used comes back."""
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": "void"}
    invoice["status_transitions"]["voided_at"] = call.now()
    invoice.pop("status_details", None)
    call.store.save(invoice)
    _give_up_payment(call, invoice, "void_invoice")
    used = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    if used:
        customer = fetch(call, "customer", invoice["customer"])
        before = render(call, deepcopy(customer))
        customer["balance"] -= used
        call.store.save(customer)
        events.emit_update(call, "customer.updated", before, customer)
    events.emit(call, "invoice.voided", invoice)
    return invoice


def _give_up_payment(call: Call, invoice: Object, why: str | None) -> None:
    """Let nobody pay an invoice any more: cancel its payment, and the intent of that."""
    payment = invoice_payments.of_invoice(call, invoice["id"])
    if payment is None or payment["status"] != "open":
        return
    payment["status"] = "canceled"
    payment["status_transitions"]["canceled_at"] = call.now()
    call.store.save(payment)
    intent = fetch(call, "payment_intent", payment["payment"]["payment_intent"])
    if intent["status"] in paying.OPEN:
        payment_intents.give_up(call, intent, why)


def write_off(call: Call, invoice: Object) -> Object:
    """Give an open invoice up: nobody tries it any more, and it can still be paid."""
    invoice |= {
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "uncollectible",
        "status_details": {"uncollectible": {"reason": "user_forgiven"}},
    }
    invoice["status_transitions"]["marked_uncollectible_at"] = call.now()
    call.store.save(invoice)
    _note_delinquency(call, invoice, delinquent=False)
    events.emit(call, "invoice.marked_uncollectible", invoice)
    return invoice
