"""The sandbox's own control interface, beside Stripe's: the clock, chaos, and what a person does to deliveries."""

import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from portal.sandbox import deliveries, destinations, draft_time
from portal.sandbox.api import authenticate, error_response, json_response
from portal.sandbox.chaos import book
from portal.sandbox.chaos.rules import SETTINGS, Rule, rule_of
from portal.sandbox.errors import ApiError, invalid, no_such
from portal.sandbox.ids import new_id
from portal.sandbox.parameters import Integer, Text, parse
from portal.sandbox.registry import fetch
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object
from portal.sandbox.wire import build_tree, dumps, json_pairs

ADVANCE_SECONDS_MAX = 10 * 366 * 86400
OVERLAP_SECONDS_MAX = 7 * 86400


def add_control(app: Flask, sandbox: Sandbox) -> None:
    """Give the control interface its addresses in the app."""
    for path, methods, handle in _ROUTES:
        app.add_url_rule(
            f"/_sandbox/{path}",
            endpoint=f"control {path}",
            view_func=_view(sandbox, handle),
            methods=methods,
            provide_automatic_options=False,
        )


def _view(sandbox: Sandbox, handle: Callable[..., Object]) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        request_id = new_id("req", 14)
        try:
            authenticate(sandbox)
            return json_response(200, dumps(handle(sandbox, **ids)), request_id)
        except ApiError as error:
            return error_response(sandbox, error, request_id)

    return view


def _clock(sandbox: Sandbox) -> Object:
    """`/_sandbox/clock`: what time it is; a POST moves it forward."""
    if request.method == "POST":
        advance(sandbox, _advance_seconds())
    return {"now": sandbox.clock.now(), "offset_seconds": sandbox.clock.offset_seconds()}


def _advance_seconds() -> int:
    body = request.get_json(force=True, silent=True)
    seconds = body.get("advance_seconds") if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 <= seconds <= ADVANCE_SECONDS_MAX:
        raise invalid('Send JSON such as {"advance_seconds": 3600}: a whole number, not negative.', "advance_seconds")
    return seconds


def advance(sandbox: Sandbox, seconds: int) -> None:
    """Move the clock forward and carry out what has come due."""
    with sandbox.store.transaction():
        sandbox.clock.advance(seconds)
    sandbox.settle()


def _draft_time(sandbox: Sandbox) -> Object:
    """`/_sandbox/draft_time`: for how many seconds invoices with usage stay drafts; a POST says so."""
    call = sandbox.call()
    if request.method == "POST":
        fields = {"seconds": Integer(minimum=0, maximum=draft_time.SECONDS_MAX, required=True)}
        with sandbox.store.transaction():
            draft_time.change(call, _read(fields, request.get_data())["seconds"])
    return {"seconds": draft_time.seconds(call)}


def _chaos(sandbox: Sandbox) -> Object:
    """`/_sandbox/chaos`: everything about it; a POST sets what it names, a DELETE ends it all but the seed."""
    if request.method == "POST":
        configure_chaos(sandbox, request.get_data())
    if request.method == "DELETE":
        configure_chaos(sandbox, b'{"rules": [], "rate_limit": 0}')
    return book.shown(sandbox.store)


def configure_chaos(sandbox: Sandbox, body: bytes) -> None:
    """Set seed, rate limit and rules, each where it is named; rules take the place of all there were.

    The body is JSON. What one does not know is refused.
    """
    values, rules = read_chaos(body)
    store = sandbox.store
    with store.transaction():
        if rules is not None:
            book.remove(store)
            for rule in rules:
                book.add(store, rule)
        if "rate_limit" in values:
            book.set_rate_limit(store, values["rate_limit"])
        if "seed" in values:
            book.set_seed(store, values["seed"])
    sandbox.chaos.reread()


def read_chaos(body: bytes) -> tuple[dict[str, Any], list[Rule] | None]:
    """Return what a JSON body says of chaos: its values, and its rules if it has any."""
    values = _read(SETTINGS, body, lists=("rules",))
    return values, [rule_of(one) for one in values["rules"]] if "rules" in values else None


def _read(fields: dict[str, Any], body: bytes, lists: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the values of a JSON body; an empty list, which no form could say, is one here."""
    values = parse(fields, build_tree(json_pairs(body or b"{}")))
    sent = json.loads(body or b"{}")
    return values | {name: [] for name in lists if sent.get(name) == []}


def _deliveries(sandbox: Sandbox) -> Object:
    """`GET /_sandbox/deliveries`: how many are in which state."""
    rows = sandbox.store.query("SELECT state, count(*) AS number FROM deliveries GROUP BY state")
    return dict.fromkeys(("pending", "delivered", "failed", "canceled"), 0) | {
        row["state"]: row["number"] for row in rows
    }


def _resend(sandbox: Sandbox, event_id: str) -> Object:
    """`POST /_sandbox/events/{event}/resend`: send it once more, to one endpoint or to all."""
    endpoint_id = _read({"endpoint": Text()}, request.get_data()).get("endpoint")
    call = sandbox.call()
    with sandbox.store.transaction():
        event = fetch(call, "event", event_id)
        number = deliveries.send_again(call, event, endpoint_id)
    if endpoint_id is not None and not number:
        raise no_such("enabled webhook endpoint", endpoint_id, "endpoint", in_path=False)
    return {"event": event_id, "deliveries": number}


def _roll_secret(sandbox: Sandbox, endpoint_id: str) -> Object:
    """`POST /_sandbox/webhook_endpoints/{endpoint}/roll_secret`: this answer alone holds the new secret."""
    fields = {"overlap_seconds": Integer(minimum=0, maximum=OVERLAP_SECONDS_MAX)}
    overlap = _read(fields, request.get_data()).get("overlap_seconds", 86400)
    call = sandbox.call()
    with sandbox.store.transaction():
        endpoint = destinations.find(sandbox.store, endpoint_id)
        if endpoint is None:
            raise no_such("webhook endpoint", endpoint_id, "id", in_path=True)
        rolled = destinations.roll_secret(call, endpoint, overlap)
    return {"id": endpoint_id, "secret": rolled["_secret"], "old_secret_until": rolled["_old_secret_until"]}


_ROUTES: tuple[tuple[str, list[str], Callable[..., Object]], ...] = (
    ("clock", ["GET", "POST"], _clock),
    ("draft_time", ["GET", "POST"], _draft_time),
    ("chaos", ["GET", "POST", "DELETE"], _chaos),
    ("deliveries", ["GET"], _deliveries),
    ("events/<event_id>/resend", ["POST"], _resend),
    ("webhook_endpoints/<endpoint_id>/roll_secret", ["POST"], _roll_secret),
)
