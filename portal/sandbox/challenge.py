"""3-D Secure at checkout: the bank asks who is paying before it says yes or no.

What the person entered waits in the session meanwhile, and nothing but the intent of a purchase has come into being.
Completing the challenge pays as any card does; failing it leads back to the checkout, where another card can be tried.
"""

from dataclasses import asdict

from portal.sandbox import completion, paying
from portal.sandbox.call import Call
from portal.sandbox.cards import BY_NUMBER
from portal.sandbox.completion import Payer
from portal.sandbox.errors import ApiError
from portal.sandbox.registry import fetch
from portal.sandbox.store import Object

FAILED = "We are unable to authenticate your payment method. Please choose a different payment method and try again."
# Stripe's words for the intent's own error, which the customer does not see.
INTENT_ERROR = (
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod"
    " to attempt to fulfill this PaymentIntent again."
)


def is_asked(payer: Payer) -> bool:
    """Say whether the card's bank wants to know who is paying, or who is saving the card."""
    return payer.card is not None and payer.card.challenge != "never"


def begin(call: Call, session: Object, payer: Payer) -> None:
    """Keep what was entered, until the person has answered the bank."""
    assert payer.card is not None
    kept = asdict(payer) | {"card": payer.card.number}
    if session["mode"] == "payment":
        intent, payment_method = completion.intent_to_authenticate(call, session, payer)
        paying.require_action(call, intent, payment_method, page_of(call, session))
        session["payment_intent"] = intent["id"]
    call.store.save(session | {"_challenge": kept, "_notice": None})


def waiting(session: Object) -> Payer | None:
    """Return who is being asked, or None when nobody is."""
    kept = session.get("_challenge")
    return Payer(**kept | {"card": BY_NUMBER[kept["card"]]}) if kept else None


def succeed(call: Call, session: Object, payer: Payer) -> ApiError | None:
    """Go on with the payment; returns the 402 when the bank refuses the card all the same."""
    session["_challenge"] = None
    call.store.save(session)
    error = completion.complete(call, session, payer)
    if error is not None:
        call.store.save(session | {"_notice": error.message})
    return error


def fail(call: Call, session: Object) -> None:
    """Note that the bank did not believe the person. Nothing was charged."""
    if session["payment_intent"] is not None:
        paying.fail_authentication(call, fetch(call, "payment_intent", session["payment_intent"]), INTENT_ERROR)
    call.store.save(session | {"_challenge": None, "_notice": FAILED})


def page_of(call: Call, session: Object) -> str:
    """Return the address where the bank asks."""
    return call.link(f"/c/pay/{session['id']}/authenticate")
