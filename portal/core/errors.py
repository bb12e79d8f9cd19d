"""Errors as answers: an HTML page for people, the API's error object for programs, never a bare trace."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from flask import Flask, Response, current_app, g, jsonify, make_response, render_template, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from flask_login import AnonymousUserMixin
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, SecurityError, ServiceUnavailable

from portal.core.database import db
from portal.core.error_words import ErrorWords, words_for
from portal.core.logging import request_id

log = structlog.get_logger(__name__)

API_PREFIX = "/api/"
API_DOCS = "/docs/api"


class ApiError(Exception):
    """An answer of the JSON API: status, `type` and `code` of the error object, and what else it carries."""

    def __init__(
        self,
        status: int,
        kind: str,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.code, self.message, self.extra = status, kind, code, message, extra
        self.headers = dict(headers or {})


API_TYPES = {
    401: ("authentication_error", "unauthenticated"),
    403: ("permission_error", "forbidden"),
    404: ("invalid_request_error", "resource_missing"),
    405: ("invalid_request_error", "method_not_allowed"),
    413: ("invalid_request_error", "body_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    422: ("invalid_request_error", "invalid_field"),
    429: ("rate_limit_error", "too_many_requests"),
}
API_FALLBACK = {True: ("api_error", "internal"), False: ("invalid_request_error", "bad_request")}

# Where the web server's own errors live: it reads a body only when we do, so that broken chunks come up in a view.
# By name, since the commands and other servers do without it.
UNREADABLE = "gunicorn.http.errors"


def error_object(kind: str, code: str, message: str, **extra: object) -> dict[str, object]:
    doc_url = f"{current_app.config['SETTINGS'].base_url}{API_DOCS}#{code}"
    return {
        "error": {
            "type": kind,
            "code": code,
            "message": message,
            "doc_url": doc_url,
            "request_id": request_id(),
            **extra,
        }
    }


def init_errors(app: Flask) -> None:
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OperationalError, _database_busy)
    app.register_error_handler(PoolTimeout, _database_busy)
    app.register_error_handler(DataError, _not_storable)
    app.register_error_handler(Exception, _unexpected)


def _api_error(error: ApiError) -> ResponseReturnValue:
    db.session.rollback()
    return jsonify(error_object(error.kind, error.code, error.message, **error.extra)), error.status, error.headers


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if isinstance(error.response, Response):
        return error.response
    if request.path.startswith(API_PREFIX):
        kind, code = API_TYPES.get(status) or API_FALLBACK[status >= 500]
        words = "This host is not ours." if isinstance(error, SecurityError) else error.description or error.name
        answer = jsonify(error_object(kind, code, words, **_param(error)))
    else:
        answer = _page(status, getattr(error, "words", None) or words_for(status))
    answer.status_code = status
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Content-Length"}:
            answer.headers[name] = value
    return answer


def _param(error: HTTPException) -> dict[str, object]:
    """What webargs found wrong in the request's fields, if that is what happened."""
    data = getattr(error, "data", None) or {}
    messages = data.get("messages")
    return {"param": messages} if messages else {}


def _page(status: int, words: ErrorWords) -> Response:
    """The error page; it needs neither the database nor a user, whom the library would load for every template.

    A host that is not ours has no addresses either, and gets the bare words.
    """
    if request_ctx.url_adapter is None:
        return Response(f"{words.title}.\n", mimetype="text/plain")
    g.setdefault("_login_user", AnonymousUserMixin())
    return make_response(render_template("errors/error.html", status=status, words=words))


def _database_busy(error: Exception) -> ResponseReturnValue:
    """A lock, statement or pool limit was reached, or the database is away: a clear 503, and trying again is safe."""
    log.warning("database_unavailable", reason=str(getattr(error, "orig", error)).splitlines()[0])
    db.session.rollback()
    answer = _http_error(
        ServiceUnavailable("The database is busy or away. Try again; the same idempotency key never counts twice.")
    )
    answer.headers["Retry-After"] = "2"
    return answer


def _not_storable(error: Exception) -> ResponseReturnValue:
    """A NUL that came in a field: PostgreSQL has no such character. Anything else here is a mistake of ours."""
    if "NUL (0x00)" not in str(error):
        return _unexpected(error)
    db.session.rollback()
    return _http_error(BadRequest("A field holds a character that cannot be stored."))


def _unexpected(error: Exception) -> ResponseReturnValue:
    if type(error).__module__ == UNREADABLE:
        return _http_error(BadRequest("The body does not come as its headers say."))
    log.error("unexpected_error", exc_info=error)
    db.session.rollback()
    return _http_error(InternalServerError("Something went wrong on our side. Nothing was charged."))
