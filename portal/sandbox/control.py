"""The sandbox's own control interface, beside Stripe's: the clock."""

from flask import Flask, Response, request

from portal.sandbox.api import authenticate, error_response, json_response
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.ids import new_id
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.wire import dumps

ADVANCE_SECONDS_MAX = 10 * 366 * 86400


def add_control(app: Flask, sandbox: Sandbox) -> None:
    """Give the control interface its addresses in the app."""

    def clock() -> Response:
        request_id = new_id("req", 14)
        try:
            authenticate(sandbox)
            if request.method == "POST":
                _advance(sandbox)
        except ApiError as error:
            return error_response(sandbox, error, request_id)
        answer = {"now": sandbox.clock.now(), "offset_seconds": sandbox.clock.offset_seconds()}
        return json_response(200, dumps(answer), request_id)

    app.add_url_rule("/_sandbox/clock", view_func=clock, methods=["GET", "POST"], provide_automatic_options=False)


def _advance(sandbox: Sandbox) -> None:
    body = request.get_json(force=True, silent=True)
    seconds = body.get("advance_seconds") if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 <= seconds <= ADVANCE_SECONDS_MAX:
        raise invalid('Send JSON such as {"advance_seconds": 3600}: a whole number, not negative.', "advance_seconds")
    with sandbox.store.transaction():
        sandbox.clock.advance(seconds)
    sandbox.settle()
