"""What is done with an invoice: it is finalized, paid, made void, or written off."""

from portal.sandbox import collecting, pending_updates, standing
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Boolean, Text
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import invoices, payment_methods
from portal.sandbox.store import Object

PAY = {"off_session": Boolean(), "paid_out_of_band": Boolean(), "payment_method": Text()}


@by_clock_of("invoice")
def finalize(call: Call, _: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}/finalize`: it can be paid from now on; one on which nothing is due is paid."""
    invoice = fetch(call, "invoice", invoice_id)
    _require(invoice, ("draft",), "finalized")
    collecting.finalize(call, invoice)
    if invoice["amount_due"] == 0:
        collecting.mark_paid(call, invoice)
        standing.after_payment(call, invoice)
    return render(call, invoice)


@by_clock_of("invoice")
def pay(call: Call, values: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}/pay`: try an invoice with a card, the subscription's own unless one is named."""
    invoice = fetch(call, "invoice", invoice_id)
    if invoice["status"] == "paid":
        raise invalid("The invoice is already paid.", code="invoice_already_paid")
    _require(invoice, ("draft", "open", "uncollectible"), "paid")
    if invoice["status"] == "draft":
        collecting.finalize(call, invoice)
    by_hand = values.get("paid_out_of_band", False)
    if not by_hand and invoice["amount_due"] > 0:
        error = collecting.take_payment(call, invoice, _card_for(call, values, invoice))
        if error is not None:
            collecting.mark_failed(call, invoice, error, by_clock=False)
            raise error
    collecting.mark_paid(call, invoice, by_hand=by_hand)
    standing.after_payment(call, invoice)
    return render(call, invoice)


def _require(invoice: Object, statuses: tuple[str, ...], verb: str) -> None:
    if invoice["status"] not in statuses:
        raise invalid(f"The invoice cannot be {verb}, because its status is {invoice['status']}.")


def _card_for(call: Call, values: Values, invoice: Object) -> Object:
    if "payment_method" in values:
        return payment_methods.require_of_customer(
            call, values["payment_method"], invoice["customer"], "payment_method"
        )
    subscription = invoices.subscription_of(call, invoice)
    chosen = invoice["default_payment_method"] or (subscription["default_payment_method"] if subscription else None)
    return payment_methods.default_of(call, fetch(call, "customer", invoice["customer"]), chosen)


@by_clock_of("invoice")
def void(call: Call, _: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}/void`: a change that waited for its payment goes with it."""
    invoice = fetch(call, "invoice", invoice_id)
    _require(invoice, ("open", "uncollectible"), "voided")
    voided = collecting.void(call, invoice)
    subscription = invoices.subscription_of(call, invoice)
    if subscription is not None and pending_updates.is_paid_by(subscription, invoice):
        pending_updates.forget(call, subscription)
    standing.after_void(call, invoice)
    return render(call, voided)


@by_clock_of("invoice")
def mark_uncollectible(call: Call, _: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}/mark_uncollectible`: nobody tries it any more, and it can still be paid."""
    invoice = fetch(call, "invoice", invoice_id)
    _require(invoice, ("open",), "marked uncollectible")
    collecting.write_off(call, invoice)
    standing.after_write_off(call, invoice)
    return render(call, invoice)


_ONE = "/v1/invoices/{invoice}"
ENDPOINTS = (
    Endpoint("POST", _ONE + "/finalize", {}, finalize, "invoice"),
    Endpoint("POST", _ONE + "/mark_uncollectible", {}, mark_uncollectible, "invoice"),
    Endpoint("POST", _ONE + "/pay", PAY, pay, "invoice"),
    Endpoint("POST", _ONE + "/void", {}, void, "invoice"),
)
