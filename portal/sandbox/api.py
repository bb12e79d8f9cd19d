"""The way of a request through the API: key, version, parameters, idempotency, effects, answer."""

import base64
import binascii
import hmac
import logging
import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from portal.sandbox import expansion, idempotency
from portal.sandbox.call import API_VERSION, Call
from portal.sandbox.chaos.calls import Fault
from portal.sandbox.endpoints import Endpoint
from portal.sandbox.errors import ApiError, invalid, not_authenticated
from portal.sandbox.ids import new_id
from portal.sandbox.parameters import Array, Text, parse
from portal.sandbox.sandbox import Origin, Sandbox
from portal.sandbox.versions import refuse_retired
from portal.sandbox.wire import build_tree, decode_pairs, dumps, json_pairs

_LOG = logging.getLogger("sandbox")
_EXPAND = Array(item=Text(max_length=200))


def add_endpoint(app: Flask, sandbox: Sandbox, endpoint: Endpoint) -> None:
    """Give an endpoint its address in the app."""
    rule = re.sub(r"\{(\w+)\}", r"<\1>", endpoint.path)
    app.add_url_rule(
        rule,
        endpoint=f"{endpoint.method} {endpoint.path}",
        view_func=_view(sandbox, endpoint),
        methods=[endpoint.method],
        provide_automatic_options=False,
    )


def _view(sandbox: Sandbox, endpoint: Endpoint) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        request_id = new_id("req", 14)
        try:
            response = _Exchange(sandbox, endpoint, request_id).run(list(ids.values()))
        except ApiError as error:
            response = error_response(sandbox, error, request_id)
        return response

    return view


def authenticate(sandbox: Sandbox) -> None:
    """Raise 401 unless the request carries this sandbox's key, as a bearer token or as the user of Basic."""
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    key = ""
    if kind.lower() == "bearer":
        key = credentials.strip()
    elif kind.lower() == "basic":
        try:
            key = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise not_authenticated("No API key was sent: use the header 'Authorization: Bearer <key>'.")
    if not hmac.compare_digest(key.encode(), sandbox.configuration.api_key.encode()):
        raise not_authenticated(f"Invalid API key: {key[:8]}****. This sandbox was started with another one.")


def error_response(sandbox: Sandbox, error: ApiError, request_id: str) -> Response:
    """Return the answer for an error."""
    body = dumps(error.body(sandbox.call().link(f"/events?request={request_id}")))
    response = json_response(error.status, body, request_id)
    response.headers.update(error.headers)
    return response


def json_response(status: int, body: bytes, request_id: str, content_type: str = "application/json") -> Response:
    """Return an answer with the headers every answer of the API has."""
    response = Response(body, status, content_type=content_type)
    response.headers["Request-Id"] = request_id
    response.headers["Stripe-Version"] = request.headers.get("Stripe-Version") or API_VERSION
    response.headers["Cache-Control"] = "no-cache, no-store"
    key = request.headers.get("Idempotency-Key")
    if key and request.method == "POST":
        response.headers["Idempotency-Key"] = key
    return response


class _Exchange:
    """One request being answered."""

    def __init__(self, sandbox: Sandbox, endpoint: Endpoint, request_id: str) -> None:
        self.sandbox = sandbox
        self.endpoint = endpoint
        self.request_id = request_id
        # Only POST has effects that a key protects; reads and deletions are safe to repeat.
        self.key = (request.headers.get("Idempotency-Key") or None) if endpoint.method == "POST" else None
        self.fault = Fault()

    def run(self, ids: list[str]) -> Response:
        """Check, carry out, answer, unless chaos has it otherwise."""
        authenticate(self.sandbox)
        self.fault = self.sandbox.chaos.meet(self.endpoint.method, self.endpoint.path, request.path)
        return self.fault.before(self.key) or self.fault.after(self._run(ids))

    def _run(self, ids: list[str]) -> Response:
        """Errors before the effects begin are raised and never stored under a key."""
        version = self._version()
        pairs = self._pairs()
        values, paths = self._parse(pairs)
        refuse_retired(values, version)
        origin = Origin(version, self.request_id, self.key)
        if self.key is None:
            self.sandbox.settle()
            return self._answer(origin, values, paths, ids, None)
        idempotency.check_key(self.key)
        hashed = idempotency.request_hash(self.endpoint.method, request.path, pairs)
        # Before anything waits for the store: a second request with the key is told so, it does not queue up.
        with self.sandbox.keys_in_flight.hold(self.key):
            self.sandbox.settle()
            stored = idempotency.stored_answer(self.sandbox.call(origin), self.key, hashed)
            if stored is not None:
                response = json_response(stored.status, stored.body, self.request_id)
                response.headers["Idempotent-Replayed"] = "true"
                response.headers["Original-Request"] = stored.request_id
                return response
            return self._answer(origin, values, paths, ids, hashed)

    def _version(self) -> str | None:
        version = request.headers.get("Stripe-Version")
        if version is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}(\.[a-z_]+)?", version):
            raise invalid(f"Invalid Stripe API version: {version[:100]}")
        return version

    def _pairs(self) -> list[tuple[str, str]]:
        pairs = decode_pairs(request.query_string)
        body = request.get_data(cache=False) if self.endpoint.method != "GET" else b""
        if not body:
            return pairs
        if self.endpoint.path.startswith("/v2/"):
            return pairs + json_pairs(body)
        if request.mimetype not in ("", "application/x-www-form-urlencoded"):
            raise invalid("Invalid request (the content type must be application/x-www-form-urlencoded).")
        return pairs + decode_pairs(body)

    def _parse(self, pairs: list[tuple[str, str]]) -> tuple[dict[str, Any], list[str]]:
        values = parse({**self.endpoint.parameters, "expand": _EXPAND}, build_tree(pairs))
        paths: list[str] = values.pop("expand", [])
        expansion.check_paths(paths, self.endpoint.shape())
        return values, paths

    def _answer(
        self, origin: Origin, values: dict[str, Any], paths: list[str], ids: list[str], hashed: str | None
    ) -> Response:
        call = self.sandbox.call(origin)
        # Before the effects begin: no key keeps this refusal.
        self.sandbox.chaos.meet_values(f"{self.endpoint.method} {self.endpoint.path}", ids, values, call.now())
        try:
            status, body = self._carry_out(call, values, paths, ids, hashed)
        except ApiError as error:
            status, body = error.status, self._error_body(call, error)
            self._keep(call, hashed, status, body)
        except Exception:  # noqa: BLE001  (whatever went wrong is a 500 in Stripe's body, and it is stored)
            _LOG.exception("request %s failed", self.request_id)
            failure = ApiError(500, "api_error", "The sandbox failed on this request; its log says where.")
            status, body = failure.status, self._error_body(call, failure)
            self._keep(call, hashed, status, body)
        if status == 200:
            return json_response(status, body, self.request_id, self.endpoint.content_type)
        return json_response(status, body, self.request_id)

    def _carry_out(
        self, call: Call, values: dict[str, Any], paths: list[str], ids: list[str], hashed: str | None
    ) -> tuple[int, bytes]:
        if self.endpoint.method == "GET":
            with call.store.lock:
                return 200, self._render(call, values, paths, ids)
        with call.store.transaction():
            try:
                status, body = 200, self._render(call, values, paths, ids)
            except ApiError as error:
                if not error.keeps_effects:
                    raise
                status, body = error.status, self._error_body(call, error)
            if (spoilt := self.fault.spoils()) is not None:
                status, body = spoilt.status, self._error_body(call, spoilt)
            self._keep(call, hashed, status, body)
        return status, body

    def _render(self, call: Call, values: dict[str, Any], paths: list[str], ids: list[str]) -> bytes:
        self.fault.instead()
        answer = self.endpoint.handle(call, values, *ids)
        if isinstance(answer, bytes):
            return answer
        expansion.expand(call, answer, paths, self.endpoint.shape())
        return dumps(answer)

    def _error_body(self, call: Call, error: ApiError) -> bytes:
        return dumps(error.body(call.link(f"/events?request={self.request_id}")))

    def _keep(self, call: Call, hashed: str | None, status: int, body: bytes) -> None:
        if hashed is not None and self.key is not None:
            idempotency.store_answer(call, self.key, hashed, status, body)
