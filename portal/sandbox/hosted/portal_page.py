"""The hosted customer portal: `/p/session/<token>`, a page and a few steps, each a plain form.

The address is the key: whoever has it is the customer, for as long as the session is open. That also keeps other
sites from posting here, since they cannot know it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, Response, request

from portal.sandbox.errors import ApiError, CardError
from portal.sandbox.hosted import (
    portal_cancel,
    portal_cards,
    portal_details,
    portal_home,
    portal_pause,
    portal_update,
)
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_visit import open_visit
from portal.sandbox.resources import portal_sessions
from portal.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class _Step:
    """One address below a session's, what carries it out, and the feature that must be switched on for it."""

    path: str
    handle: Callable[..., Response]
    feature: str | None
    methods: tuple[str, ...] = ("GET", "POST")


_STEPS = (
    _Step("", portal_home.home, None, ("GET",)),
    _Step("/done", portal_home.confirmation, None, ("GET",)),
    _Step("/customer", portal_details.details, "customer_update"),
    _Step("/payment-methods/add", portal_cards.add_card, "payment_method_update"),
    _Step("/payment-methods/<item_id>/default", portal_cards.choose_card, "payment_method_update", ("POST",)),
    _Step("/payment-methods/<item_id>/remove", portal_cards.remove_card, "payment_method_update", ("POST",)),
    _Step("/subscriptions/<item_id>/cancel", portal_cancel.cancel, "subscription_cancel"),
    _Step("/subscriptions/<item_id>/keep", portal_cancel.keep, "subscription_cancel", ("POST",)),
    _Step("/subscriptions/<item_id>/pause", portal_pause.pause, "subscription_pause"),
    _Step("/subscriptions/<item_id>/resume", portal_pause.resume, "subscription_pause"),
    _Step("/subscriptions/<item_id>/update", portal_update.choose, "subscription_update", ("GET",)),
    _Step("/subscriptions/<item_id>/update/confirm", portal_update.confirm, "subscription_update"),
    _Step("/subscriptions/<item_id>/update/undo", portal_update.undo, "subscription_update", ("POST",)),
)
# Stripe's page would ask; here such a card cannot pay for a change.
_BANK_ASKS = "The card's bank wants to ask who is paying."


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the pages their addresses in the app."""
    for step in _STEPS:
        app.add_url_rule(
            f"/p/session/<token>{step.path}",
            endpoint=f"portal {step.path}",
            view_func=_view(sandbox, step),
            methods=list(step.methods),
        )


def _view(sandbox: Sandbox, step: _Step) -> Callable[..., Response]:
    def view(token: str, **ids: str) -> Response:
        sandbox.settle()
        try:
            # One transaction around look and act: of two posts at once, the second sees what the first has done.
            with sandbox.store.transaction():
                return _answer(sandbox, step, token, *ids.values())
        except ApiError as error:
            return _refused(sandbox, token, error)

    return view


def _refused(sandbox: Sandbox, token: str, error: ApiError) -> Response:
    """Say that an act was taken back whole, and why."""
    link = (f"/p/session/{token}", "Go back")
    if isinstance(error, CardError):
        why = _BANK_ASKS if error.code and error.code.endswith("_requires_action") else error.message
        text = f"{why} Nothing was changed and nothing was charged. Try again with another card."
        return plain_page(sandbox, 402, "The payment was refused", text, link)
    text = f"This cannot be done, and nothing was changed. {error.message}"
    return plain_page(sandbox, 409, "This cannot be done", text, link)


def _answer(sandbox: Sandbox, step: _Step, token: str, *ids: str) -> Response:
    call = sandbox.call()
    session = portal_sessions.open_session(call, token)
    if session is None:
        text = "This address is no longer good, and nothing was changed. Go back to where you came from and try again."
        return plain_page(sandbox, 410, "This page has expired", text)
    visit = open_visit(
        sandbox,
        call,
        session,
        request.form if request.method == "POST" else request.args,
        posted=request.method == "POST",
        note=request.args.get("note"),
    )
    if step.feature is not None and not visit.allows(step.feature):
        return plain_page(
            sandbox, 404, "Not offered here", "This cannot be done in the portal.", (visit.link(), "Go back")
        )
    return step.handle(visit, *ids)
