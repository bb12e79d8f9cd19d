"""Paying an open invoice with another card, from its own page: `/i/<invoice>/pay`."""

from flask import Flask, Response, request

from portal.sandbox import cards, collecting, standing
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.errors import ApiError
from portal.sandbox.hosted.checkout_form import Asked, Entered, read
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.registry import fetch
from portal.sandbox.resources import payment_methods
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def pay(invoice_id: str) -> Response:
        sandbox.settle()
        call = sandbox.call()
        # One transaction around look and pay: of two posts at once, the second finds the invoice paid.
        with sandbox.store.transaction():
            invoice = call.store.get("invoice", invoice_id)
            if invoice is None:
                return plain_page(sandbox, 404, "No such invoice", "This address belongs to no invoice.")
            if not can_be_paid(invoice):
                return guarded_redirect(call.link(f"/i/{invoice_id}"))
            if request.method == "POST":
                return _answer(sandbox, call_for(call, invoice), invoice)
            return _form(sandbox, invoice)

    app.add_url_rule("/i/<invoice_id>/pay", endpoint="invoice_payment", view_func=pay, methods=["GET", "POST"])


def can_be_paid(invoice: Object) -> bool:
    """Say whether somebody can still pay an invoice."""
    return invoice["status"] in ("open", "uncollectible") and bool(invoice["amount_due"])


def _answer(sandbox: Sandbox, call: Call, invoice: Object) -> Response:
    entered = read(request.form, Asked(None, card=True, email=False), call.now())
    if entered.refusal is not None:
        return _form(sandbox, invoice, entered, 402, entered.refusal.message)
    if entered.payer is None or entered.payer.card is None:
        return _form(sandbox, invoice, entered, 422)
    payer = entered.payer
    billing = {"email": invoice["customer_email"], "name": payer.name or invoice["customer_name"]}
    built = payment_methods.build(call, entered.payer.card, payer.exp_month, payer.exp_year, billing)
    payment_method = call.store.insert("payment_method", built)
    error = collecting.take_payment(call, invoice, payment_method)
    if isinstance(error, collecting.ActionRequiredError):
        return guarded_redirect(call.link(f"/i/{invoice['id']}/authenticate"))
    settle(call, invoice, payment_method, error)
    if error is not None:
        return _form(sandbox, invoice, entered, 402, error.message)
    return guarded_redirect(call.link(f"/i/{invoice['id']}"))


def settle(call: Call, invoice: Object, payment_method: Object, error: ApiError | None) -> None:
    """Note what became of a payment; a card that has paid is kept for the customer."""
    intent = collecting.intent_of(call, invoice)
    assert intent is not None
    # A subscription may make the card its default, which only a card of the customer can be.
    if error is None and payment_method["customer"] is None:
        payment_methods.attach_to(call, payment_method, fetch(call, "customer", invoice["customer"]))
    standing.after_confirmation(call, intent, error)


def _form(
    sandbox: Sandbox, invoice: Object, entered: Entered | None = None, status: int = 200, declined: str | None = None
) -> Response:
    return show(
        sandbox,
        "invoice_payment.html",
        status,
        invoice=invoice,
        errors=entered.errors if entered else {},
        declined=declined,
        form=request.form,
        hints=cards.HINTS,
    )
