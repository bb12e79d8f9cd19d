"""Breaking a call to the API: before anything is done, while it is done, or on the way back."""

import socket
import struct
import time
from collections.abc import Callable, Iterator

from flask import Response, request

from portal.sandbox.chaos import book
from portal.sandbox.chaos.rate_limits import RateLimits, subscription_changed
from portal.sandbox.chaos.rules import Rule
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, idempotency_in_use, rate_limited
from portal.sandbox.store import Store

_OFF_AT_ONCE = struct.pack("ii", 1, 0)


class CallChaos:
    """What happens to the calls of one sandbox."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._limits = RateLimits(wall)
        self.reread()

    def reread(self) -> None:
        """Look whether there is anything to do, after it was changed: a call must not wait for the store to learn that
        there is nothing.
        """
        self._rate_limit = book.rate_limit(self._store)
        self._has_rules = book.has_rules(self._store, "calls")

    def meet(self, method: str, endpoint_path: str, path: str) -> "Fault":
        """Return what is to happen to a call; raises 429 when there were too many."""
        subject = f"{method} {path}"
        refusal = self._limits.refusal(self._rate_limit, f"{method} {endpoint_path}")
        if refusal is not None:
            book.note(self._store, "calls", "rate_limit", subject)
            raise refusal
        if not self._has_rules:
            return Fault()
        with self._store.transaction():
            strike = next(book.strikes(self._store, "calls", subject), None)
            if strike is None:
                return Fault()
            book.note(self._store, "calls", strike.rule.fault, subject)
        return Fault(strike.rule)

    def meet_values(self, endpoint: str, ids: list[str], values: Values, now: int) -> None:
        """Look at what a call is about to do, too: raises 429 when a subscription's quantities change too often."""
        changed = subscription_changed(self._store, endpoint, ids, values) if self._rate_limit else None
        refusal = self._limits.refusal_of_change(changed, now) if changed else None
        if refusal is not None:
            book.note(self._store, "calls", "rate_limit", f"{endpoint.partition(' ')[0]} /v1/subscriptions/{changed}")
            raise refusal


class Fault:
    """What one call meets: nothing, without a rule."""

    def __init__(self, rule: Rule | None = None) -> None:
        self._kind = rule.fault if rule else ""
        self._milliseconds = rule.milliseconds if rule else 0

    def before(self, key: str | None) -> Response | None:
        """Return the broken answer to a call that never gets through, raise its refusal, or let it pass."""
        if self._kind == "drop_before":
            return _broken_off(b"")
        if self._kind == "conflict":
            raise idempotency_in_use(key or "")
        if self._kind == "too_many":
            raise rate_limited("endpoint-rate")
        if self._kind == "delay":
            time.sleep(self._milliseconds / 1000)
        return None

    def instead(self) -> None:
        """Raise the error that takes the place of whatever was to be done."""
        if self._kind == "error_before":
            raise _failure()

    def spoils(self) -> ApiError | None:
        """Return the error that is told though everything was done."""
        return _failure() if self._kind == "error_after" else None

    def after(self, response: Response) -> Response:
        """Return the answer as it gets through, if it does."""
        if self._kind == "drop_after":
            return _broken_off(b"")
        if self._kind == "reset":
            whole = response.get_data()
            return _broken_off(whole[: len(whole) // 2], dict(response.headers))
        return response


def _failure() -> ApiError:
    return ApiError(500, "api_error", "Something went wrong on our end (the sandbox was told to fail here).")


def _broken_off(begun: bytes, headers: dict[str, str] | None = None) -> Response:
    """An answer of which only the beginning is sent; with nothing begun, not even the status is."""
    wire = _socket(request.environ)

    def body() -> Iterator[bytes]:
        if begun:
            yield begun
        _hang_up(wire)
        raise ConnectionResetError("the connection was broken on purpose")

    response = Response(body(), headers=headers)
    response.headers.setdefault("Content-Length", str(len(begun) + 1))
    return response


def _socket(environ: dict[str, object]) -> socket.socket | None:
    """The connection that a request came by: each of the two servers we run under tells it in a way of its own."""
    wire = environ.get("werkzeug.socket")
    if wire is None:
        wire = getattr(getattr(environ.get("waitress.client_disconnected"), "__self__", None), "socket", None)
    return wire if isinstance(wire, socket.socket) else None


def _hang_up(wire: socket.socket | None) -> None:
    """Read nothing more, and let the closing be a reset."""
    if wire is None:
        return
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _OFF_AT_ONCE)
        wire.shutdown(socket.SHUT_RD)
    except OSError:
        return  # The other side was faster.
