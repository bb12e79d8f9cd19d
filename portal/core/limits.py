"""Rate limits: who may do something how often. One limiter for pages and API, counted in Redis, else in this process.

Redis may hang or be absent: a count costs at most a quarter of a second, and then each process counts for itself, so a
limit is never off. The webhook route is not limited here; its signature is checked before anything costs much.
"""

from __future__ import annotations

import time

from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit

from portal.settings import Settings

# Like the hints to the worker: what a request may lose to a Redis that hangs.
REDIS_SECONDS = 0.25


def client_address() -> str:
    """The address of whoever asks. `ProxyFix` has put it right when `PROXY_HOPS` says whom to believe."""
    return request.remote_addr or "unknown"


limiter = Limiter(key_func=client_address, strategy="moving-window", headers_enabled=False)


def init_limits(app: Flask, settings: Settings) -> None:
    app.config.update(
        RATELIMIT_STORAGE_URI=_storage_uri(settings.redis_url),
        RATELIMIT_STORAGE_OPTIONS=_storage_options(settings.redis_url),
        RATELIMIT_KEY_PREFIX="turnpike",
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
        RATELIMIT_SWALLOW_ERRORS=False,
    )
    limiter.init_app(app)

    @app.after_request
    def say_when(response: Response) -> Response:
        limit = breached()
        if limit is not None and response.status_code == 429:
            response.headers["Retry-After"] = str(max(1, limit.reset_at - int(time.time())))
        return response


def _storage_uri(redis_url: str | None) -> str:
    """The limiter's spelling of the address; its name for a Unix socket is its own."""
    if redis_url is None:
        return "memory://"
    return "redis+" + redis_url if redis_url.startswith("unix://") else redis_url


def _storage_options(redis_url: str | None) -> dict[str, object]:
    if redis_url is None:
        return {}
    return {"socket_connect_timeout": REDIS_SECONDS, "socket_timeout": REDIS_SECONDS, "retry": None}


def breached() -> RequestLimit | None:
    """The limit that this request has run into, if any."""
    found = [limit for limit in limiter.current_limits if limit.breached]
    return found[0] if found else None
