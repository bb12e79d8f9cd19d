"""The sandbox as a WSGI app."""

import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from portal.sandbox.api import add_endpoint, error_response
from portal.sandbox.call import AFTER_RETRIES, RETRY_DAYS, Configuration
from portal.sandbox.control import add_control
from portal.sandbox.delivery import RETRY_DELAYS_SECONDS
from portal.sandbox.errors import ApiError, unrecognised_url
from portal.sandbox.hosted import add_pages, plain_page
from portal.sandbox.ids import new_id
from portal.sandbox.resources import ENDPOINTS
from portal.sandbox.resources.webhook_endpoints import register_at_start
from portal.sandbox.retry_control import add_retry_control
from portal.sandbox.sandbox import Sandbox

API_KEY_DEFAULT = "sk_test_sandbox"
BODY_BYTES_MAX = 1024 * 1024
_ROOT = Path(__file__).resolve().parents[2]


def create_sandbox(
    state: str = ":memory:",
    api_key: str = API_KEY_DEFAULT,
    clock: Callable[[], float] = time.time,
    *,
    public_url: str = "http://127.0.0.1:12111",
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    retry_delays: tuple[float, ...] = RETRY_DELAYS_SECONDS,
    retry_days: tuple[int, ...] = RETRY_DAYS,
    after_retries: str = AFTER_RETRIES,
) -> Flask:
    """Return a sandbox. `state` is an SQLite file or `:memory:`; `clock` gives wall time in seconds.

    `retry_days` and `after_retries` say when a refused payment of a plan is tried again, and what comes after the last.
    With a webhook address and secret, events are delivered there; without, they are only listed. The running
    `Sandbox` is `app.extensions["sandbox"]`: call its `close()` when done. Raises `StateUnusableError` when the file
    cannot be used, such as when another process holds it.
    """
    sandbox = Sandbox(
        state, Configuration(api_key, public_url.rstrip("/"), retry_days, after_retries), clock, retry_delays
    )
    app = Flask("portal.sandbox", template_folder=str(_ROOT / "templates"), static_folder="static")
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    app.url_map.merge_slashes = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions["sandbox"] = sandbox
    for endpoint in ENDPOINTS:
        add_endpoint(app, sandbox, endpoint)
    add_control(app, sandbox)
    add_retry_control(app, sandbox)
    add_pages(app, sandbox)
    _add_error_answers(app, sandbox)
    if webhook_url and webhook_secret:
        with sandbox.store.transaction():
            register_at_start(sandbox.call(), webhook_url, webhook_secret)
    return app


def _add_error_answers(app: Flask, sandbox: Sandbox) -> None:
    """Answer what no endpoint took: in Stripe's body under /v1, as a plain page elsewhere."""

    def answer(error: HTTPException) -> Response:
        status = error.code or 500
        if not request.path.startswith(("/v1", "/v2", "/_sandbox")):
            return plain_page(sandbox, status, error.name, error.description or "")
        return error_response(sandbox, _api_error(status, error), new_id("req", 14))

    app.register_error_handler(HTTPException, answer)


def _api_error(status: int, error: HTTPException) -> ApiError:
    if status == 404:
        return unrecognised_url(request.method, request.path)
    if status == 405:
        return ApiError(405, "invalid_request_error", f"{request.path} does not take {request.method}.")
    if status == 413:
        return ApiError(413, "invalid_request_error", f"A request body may have {BODY_BYTES_MAX} bytes at most.")
    return ApiError(status, "invalid_request_error" if status < 500 else "api_error", error.description or error.name)
