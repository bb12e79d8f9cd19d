"""The page of the card's bank, which asks who is paying: `/c/pay/<session>/authenticate`."""

from flask import Flask, Response, request

from portal.sandbox import challenge
from portal.sandbox.call import Call
from portal.sandbox.completion import Payer
from portal.sandbox.hosted.checkout_page import success_address
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def authenticate(session_id: str) -> Response:
        sandbox.settle()
        call = sandbox.call()
        # One transaction around look and pay: of two answers at once, the second finds nobody waiting.
        with sandbox.store.transaction():
            session = call.store.get("checkout.session", session_id)
            if session is None:
                return plain_page(sandbox, 404, "No such checkout", "This address belongs to no checkout session.")
            payer = challenge.waiting(session) if session["status"] == "open" else None
            if payer is None or payer.card is None:
                return guarded_redirect(_way_on(call, session))
            if request.method == "POST":
                return _answer(call, session, payer)
            return show(
                sandbox,
                "challenge.html",
                form_target=session["success_url"],
                amount=session["amount_total"],
                currency=session["currency"],
                last4=payer.card.last4,
            )

    app.add_url_rule("/c/pay/<session_id>/authenticate", view_func=authenticate, methods=["GET", "POST"])


def _answer(call: Call, session: Object, payer: Payer) -> Response:
    if request.form.get("answer") != "complete":
        challenge.fail(call, session)
        return guarded_redirect(_page(call, session))
    error = challenge.succeed(call, session, payer)
    return guarded_redirect(_page(call, session) if error else success_address(session), session["success_url"])


def _way_on(call: Call, session: Object) -> str:
    return success_address(session) if session["status"] == "complete" else _page(call, session)


def _page(call: Call, session: Object) -> str:
    return call.link(f"/c/pay/{session['id']}")
