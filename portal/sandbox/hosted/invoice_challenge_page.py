"""The page of the card's bank for an invoice, such as a renewal's: `/i/<invoice>/authenticate`."""

from flask import Flask, Response, request

from portal.sandbox import challenge, collecting, paying
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.hosted.invoice_payment_page import can_be_paid, settle
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.registry import fetch
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def authenticate(invoice_id: str) -> Response:
        sandbox.settle()
        call = sandbox.call()
        # One transaction around look and pay: of two answers at once, the second finds nobody waiting.
        with sandbox.store.transaction():
            invoice = call.store.get("invoice", invoice_id)
            if invoice is None:
                return plain_page(sandbox, 404, "No such invoice", "This address belongs to no invoice.")
            intent = waiting_intent(call, invoice)
            if intent is None:
                return guarded_redirect(call.link(f"/i/{invoice_id}"))
            if request.method == "POST":
                _answer(call_for(call, invoice), invoice, intent)
                return guarded_redirect(call.link(f"/i/{invoice_id}"))
            card = fetch(call, "payment_method", intent["payment_method"])["card"]
            return show(
                sandbox, "challenge.html", amount=intent["amount"], currency=intent["currency"], last4=card["last4"]
            )

    app.add_url_rule(
        "/i/<invoice_id>/authenticate", endpoint="invoice_challenge", view_func=authenticate, methods=["GET", "POST"]
    )


def waiting_intent(call: Call, invoice: Object) -> Object | None:
    """Return the intent of an invoice that can still be paid, if its bank waits for an answer, or None."""
    intent = collecting.intent_of(call, invoice) if can_be_paid(invoice) else None
    return intent if intent is not None and intent["status"] == "requires_action" else None


def _answer(call: Call, invoice: Object, intent: Object) -> None:
    if request.form.get("answer") != "complete":
        paying.fail_authentication(call, intent, challenge.INTENT_ERROR)
        return
    payment_method = fetch(call, "payment_method", intent["payment_method"])
    settle(call, invoice, payment_method, paying.pay(call, intent, payment_method))
