"""The payment page behind a Checkout Session, as Stripe's own command line pays it. It stands in no documentation."""

from portal.sandbox import checkout_taxes, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Integer, Text
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import payment_methods
from portal.sandbox.store import Object

CONFIRM = {"expected_amount": Integer(minimum=0), "payment_method": Text(required=True)}


def retrieve(call: Call, _: Values, session_id: str) -> Object:
    """`GET /v1/payment_pages/{session}`: the session is all there is to see."""
    return render(call, fetch(call, "checkout.session", session_id))


def confirm(call: Call, values: Values, session_id: str) -> Object:
    """`POST /v1/payment_pages/{session}/confirm`: what pressing *Pay* on the hosted page does, with this card or account."""
    from portal.sandbox.completion import complete, payer_of  # It is built on the resources.

    session = fetch(call, "checkout.session", session_id)
    if session["status"] != "open":
        raise invalid(f"The session cannot be paid, because its status is {session['status']}.", "session")
    if values.get("expected_amount", session["amount_total"]) != session["amount_total"]:
        raise invalid(f"The session comes to {session['amount_total']}.", "expected_amount")
    if (session["consent_collection"] or {}).get("terms_of_service") == "required":
        raise invalid("The session asks for consent to the terms, which only the hosted page takes.", "session")
    payment_method = payment_methods.find_or_make(call, values["payment_method"], "payment_method")
    if payment_methods.asks_for(payment_method):
        raise invalid("The bank of this card asks who is paying, which only the hosted page does.", "payment_method")
    if payment_method["type"] not in session["payment_method_types"]:
        raise invalid(f"The session takes {', '.join(session['payment_method_types'])} only.", "payment_method")
    billing = payment_method["billing_details"]
    if session["automatic_tax"]["status"] == "requires_location_inputs":
        checkout_taxes.locate(call, session, billing["address"])
        tax_settings.require_location(checkout_taxes.buyer_of(call, session))
    email = session["customer_email"] or billing["email"]
    if email is None:
        raise invalid("The payment method tells no email address.", "payment_method")
    error = complete(call, session, payer_of(payment_method, email))
    if error is not None:
        raise error
    return render(call, session)


_ONE = "/v1/payment_pages/{session}"
ENDPOINTS = (
    Endpoint("GET", _ONE, {}, retrieve, "checkout.session"),
    Endpoint("POST", _ONE + "/confirm", CONFIRM, confirm, "checkout.session"),
)
