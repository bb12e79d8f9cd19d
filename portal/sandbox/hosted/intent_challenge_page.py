"""The page of the card's bank for an intent that was confirmed by itself: `/pi/<intent>/authenticate`."""

from urllib.parse import urlencode

from flask import Flask, Response, request

from portal.sandbox import challenge, paying
from portal.sandbox.call import Call
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.registry import fetch
from portal.sandbox.resources import payment_intents
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def authenticate(intent_id: str) -> Response:
        sandbox.settle()
        call = sandbox.call()
        # One transaction around look and pay: of two answers at once, the second finds nobody waiting.
        with sandbox.store.transaction():
            intent = call.store.get("payment_intent", intent_id)
            waits = intent is not None and intent["status"] == "requires_action"
            # The bank of a checkout asks on a page of the checkout, which goes on with the session.
            if intent is None or not waits or payment_intents.is_of_checkout(call, intent):
                return plain_page(sandbox, 404, "Nobody is asked", "No bank waits for an answer here.")
            return_url = intent["next_action"]["redirect_to_url"]["return_url"]
            if request.method == "POST":
                return _answer(sandbox, call, intent, return_url)
            card = fetch(call, "payment_method", intent["payment_method"])["card"]
            facts = {"amount": intent["amount"], "currency": intent["currency"], "last4": card["last4"]}
            return show(sandbox, "challenge.html", form_target=return_url, **facts)

    app.add_url_rule(
        "/pi/<intent_id>/authenticate", endpoint="intent_challenge", view_func=authenticate, methods=["GET", "POST"]
    )


def _answer(sandbox: Sandbox, call: Call, intent: Object, return_url: str | None) -> Response:
    believed = request.form.get("answer") == "complete"
    if believed:
        payment_intents.settle(call, intent, fetch(call, "payment_method", intent["payment_method"]))
    else:
        paying.fail_authentication(call, intent, challenge.INTENT_ERROR)
    paid = intent["status"] == "succeeded"
    if return_url is not None:
        told = {
            "payment_intent": intent["id"],
            "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if paid else "failed",
        }
        joint = "&" if "?" in return_url else "?"
        return guarded_redirect(f"{return_url}{joint}{urlencode(told)}", return_url)
    if paid:
        return plain_page(sandbox, 200, "Payment complete", "The bank has agreed. You can close this page.")
    text = "The bank did not agree, and nothing was charged. You can close this page."
    return plain_page(sandbox, 402, "Payment refused", text)
