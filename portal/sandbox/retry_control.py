"""The sandbox's own address for what Stripe has a settings page for: when a refused payment is tried again."""

from typing import Any

from flask import Flask, Response, request

from portal.sandbox import dunning
from portal.sandbox.api import authenticate, error_response, json_response
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.ids import new_id
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.wire import dumps


def add_retry_control(app: Flask, sandbox: Sandbox) -> None:
    """Give the settings their address in the app."""

    def retries() -> Response:
        request_id = new_id("req", 14)
        try:
            authenticate(sandbox)
            if request.method == "POST":
                with sandbox.store.transaction():
                    dunning.change(sandbox.call(), _read(request.get_json(force=True, silent=True)))
        except ApiError as error:
            return error_response(sandbox, error, request_id)
        chosen = dunning.policy(sandbox.call())
        answer = {"retry_days": list(chosen.retry_days), "afterwards": chosen.afterwards}
        return json_response(200, dumps(answer), request_id)

    app.add_url_rule("/_sandbox/retries", view_func=retries, methods=["GET", "POST"], provide_automatic_options=False)


def _read(body: Any) -> dunning.Policy:
    if not isinstance(body, dict) or set(body) != {"retry_days", "afterwards"}:
        raise invalid('Send JSON such as {"retry_days": [1, 3, 5, 7], "afterwards": "cancel"}.')
    days = body["retry_days"]
    if not isinstance(days, list) or not all(isinstance(day, int) and not isinstance(day, bool) for day in days):
        raise invalid("retry_days is a list of whole numbers.", "retry_days")
    if not dunning.is_possible(tuple(days)):
        raise invalid(f"retry_days must grow from 1 on, and hold {dunning.RETRIES_MAX} at most.", "retry_days")
    if body["afterwards"] not in dunning.AFTERWARDS:
        raise invalid(f"afterwards must be one of {', '.join(dunning.AFTERWARDS)}.", "afterwards")
    return dunning.Policy(tuple(days), body["afterwards"])
