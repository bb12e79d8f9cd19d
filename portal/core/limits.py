"""Rate limits: who may do something how often. One limiter for pages and API, counted in Redis, else in this process.

Redis may hang or be absent: a count costs at most a quarter of a second, and then each process counts for itself, so a
limit is never off. The webhook route is not limited here; its signature is checked before anything costs much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

import structlog
from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RequestLimit
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter
from redis.exceptions import RedisError

from portal.core.errors import API_PREFIX
from portal.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Like the hints to the worker: what a request may lose to a Redis that hangs.
REDIS_SECONDS = 0.25
REDIS_REST_SECONDS = 10

TOO_MANY = "Too many requests in a short time. Nothing was done; wait as Retry-After says and send the same again."


UNLIMITED = {"webhooks.stripe_webhook", "health.healthz", "health.readyz"}


def client_address() -> str:
    """Who asks, as far as counts go. `ProxyFix` has put it right when `PROXY_HOPS` says whom to believe.

    An IPv6 caller owns a whole /64 of addresses, so that is one caller.
    """
    text = request.remote_addr or "unknown"
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return text


def what_is_asked_for() -> str:
    """The route, also where there is none: addresses that do not exist are counted too."""
    return request.endpoint or "nowhere"


limiter = Limiter(
    key_func=client_address,
    strategy="moving-window",
    headers_enabled=False,
    request_identifier=what_is_asked_for,
)


def api_calls(times: int) -> Callable[[], str]:
    """The limit on calls of the API, this many times what one key has."""
    return lambda: f"{current_app.config['SETTINGS'].api_requests_per_minute * times} per minute"


@limiter.shared_limit(api_calls(4), scope="api-address", error_message=TOO_MANY)
def count_api_call_of_address() -> None:
    """Count a call from this address; 429 when it has made too many. One host may speak for several teams."""


def init_limits(app: Flask, settings: Settings) -> None:
    app.config.update(
        RATELIMIT_STORAGE_URI=_storage_uri(settings.redis_url),
        RATELIMIT_STORAGE_OPTIONS=_storage_options(settings.redis_url),
        RATELIMIT_KEY_PREFIX="turnpike",
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
        RATELIMIT_SWALLOW_ERRORS=False,
    )
    limiter.init_app(app)

    @app.before_request
    def count_address() -> None:
        """Before anything reads the request, so that a flood costs little."""
        if request.path.startswith(API_PREFIX):
            count_api_call_of_address()

    @app.after_request
    def say_when(response: Response) -> Response:
        left = standing() if response.status_code == 429 and breached() else None
        if left is not None:
            response.headers["Retry-After"] = str(max(1, left.reset_at - int(time.time())))
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


@dataclass(frozen=True)
class Standing:
    """How a caller stands: `limit` in all, `remaining` of it, and the second since 1970 when all of it is back."""

    limit: int
    remaining: int
    reset_at: int


def standing() -> Standing | None:
    """The limit that this request ran into, else the tightest that was looked at last; None without any.

    Also None when Redis went away since the request was counted.
    """
    limits = limiter.current_limits
    if not limits:
        return None
    shown = breached() or min(limits, key=lambda limit: limit.limit.amount)
    try:
        return Standing(shown.limit.amount, shown.remaining, shown.reset_at)
    except (RedisError, StorageError, OSError) as error:
        log.warning("limit_unknown", reason=type(error).__name__)
        return None
