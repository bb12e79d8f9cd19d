"""`Idempotency-Key`: a POST is done once for each key of the team, and answered as it was then when it is sent again.

What is refused (4xx, or by Stripe) leaves the key free, since nothing happened. Where the outcome is not known (5xx),
the key stays taken and the next try goes on under the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from portal.api.authentication import caller
from portal.api.reading import read_json
from portal.core import idempotency
from portal.core.database import db
from portal.core.errors import ApiError
from portal.core.idempotency import InFlight, KeyReused, Request, Stored, Try
from portal.core.unit_of_work import unit_of_work

View = Callable[..., Response]

REPLAYED = "Idempotent-Replayed"
REPLAYED_HEADER = {REPLAYED: {"description": "`true` on a stored answer.", "schema": {"type": "string"}}}


class RefusedElsewhere(ApiError):
    """A 5xx that is no unknown outcome: whoever does the work has refused it, and the next try begins afresh."""


def once(view: View) -> View:
    """Wrap a view that gets the try's id, the same for every try of a key, and the request's fields."""

    @wraps(view)
    def guarded(headers: dict[str, str], fields: dict[str, Any]) -> Response:
        asked = Request(caller().team_id, headers["idempotency_key"], _call(), read_json(request))
        taken = _take(asked)
        if isinstance(taken, Stored):
            return _answer(taken.status, taken.body, replayed=True)
        answer = _try(view, taken, fields)
        body = answer.get_data(as_text=True)
        with unit_of_work():
            idempotency.finish(taken, answer.status_code, body)
        return answer

    return guarded


def _call() -> str:
    return f"{request.method} {request.path}"


def _take(asked: Request) -> Try | Stored:
    try:
        with unit_of_work():
            return idempotency.begin(asked)
    except KeyReused as error:
        message = "This Idempotency-Key was used for another request. Use a new key for a new request."
        raise ApiError(409, "idempotency_error", "key_reused", message) from error
    except InFlight as error:
        message = "The same request is at work this moment. Ask again in a moment, with the same key."
        raise ApiError(
            409, "idempotency_error", "key_in_flight", message, headers={"Retry-After": str(error.seconds)}
        ) from error


def _try(view: View, taken: Try, fields: dict[str, Any]) -> Response:
    try:
        return view(taken.id, fields)
    except Exception as error:
        db.session.rollback()
        refused = isinstance(error, RefusedElsewhere) or _status(error) < 500
        with unit_of_work():
            (idempotency.forget if refused else idempotency.give_up)(taken)
        raise


def _status(error: Exception) -> int:
    if isinstance(error, ApiError):
        return error.status
    return (error.code or 500) if isinstance(error, HTTPException) else 500


def _answer(status: int, body: str, *, replayed: bool) -> Response:
    response = Response(body, status, mimetype="application/json")
    if replayed:
        response.headers[REPLAYED] = "true"
    return response
