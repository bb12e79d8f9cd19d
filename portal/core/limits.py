"""Rate limits: who may do something how often. One limiter for pages and API, counted in Redis, else in this process.

Redis may hang or be absent: a count costs at most a quarter of a second, and then each process counts for itself, so a
limit is never off. The webhook route is not limited here; its signature is checked before anything costs much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter
from redis.exceptions import RedisError

from portal.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Like the hints to the worker: what a request may lose to a Redis that hangs.
REDIS_SECONDS = 0.25
REDIS_REST_SECONDS = 10


UNLIMITED = {"webhooks.stripe_webhook", "health.healthz", "health.readyz"}


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


@limiter.request_filter
def _without_limits() -> bool:
    """Whether the request is of a route that has no limits, for which the library would all the same look for some."""
    return request.endpoint in UNLIMITED


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


@dataclass(frozen=True)
class Quota:
    """So many in such a time, spelled as the limiter does (`10 per 15 minutes`), for what no route stands for."""

    name: str
    text: str

    @property
    def item(self) -> RateLimitItem:
        return parse(self.text)


def wait_seconds(quota: Quota, *subject: str) -> int:
    """How long until the subject may again; 0 when it may now. Nothing is counted."""
    free = _ask(lambda counts: counts.test(quota.item, quota.name, *subject))
    if free:
        return 0
    reset = _ask(lambda counts: counts.get_window_stats(quota.item, quota.name, *subject).reset_time)
    return max(1, int(reset - time.time()) + 1)


def count(quota: Quota, *subject: str) -> bool:
    """Count one for the subject; whether that was still within the quota."""
    return _ask(lambda counts: counts.hit(quota.item, quota.name, *subject))


_own_counts = MovingWindowRateLimiter(MemoryStorage())
_redis_rests_until = 0.0


def _ask(question: Callable[[RateLimiter], T]) -> T:
    """Ask Redis; while it is away, ask this process, so that one request does not wait for it again and again."""
    global _redis_rests_until  # noqa: PLW0603  one Redis, one state
    if time.monotonic() >= _redis_rests_until:
        try:
            return question(limiter.limiter)
        except (RedisError, StorageError, OSError) as error:
            log.warning("limits_counted_here", reason=type(error).__name__)
            _redis_rests_until = time.monotonic() + REDIS_REST_SECONDS
    return question(_own_counts)
