"""Rate limits: who may do something how often. Pages and API count alike, in Redis, else in this process.

A window moves with the clock, so that at no time more than the quota lies within it. All that a request is counted for
is asked of Redis at once. Redis may hang or be absent: a request waits for it a quarter of a second, and for a while
each process counts for itself, so a limit is never off. The webhook route is not limited; its signature is checked
before anything costs much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeVar, cast

import structlog
from flask import current_app, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from werkzeug.exceptions import TooManyRequests

from portal.core.redis_client import redis_at

log = structlog.get_logger(__name__)

View = TypeVar("View", bound=Callable[..., Any])

REDIS_REST_SECONDS = 10
PREFIX = "turnpike:limits"

TOO_MANY = "Too many requests in a short time. Nothing was done; wait as Retry-After says and send the same again."

# For each window its times, newest first. `ARGV[1]` is how many to count, 0 to look only; then come size and seconds of
# each window. Counted are as many as have room in all of them. The answer is how many had room, and of each window how
# many were in it before, and how long now (in milliseconds) until the oldest and until the newest of them leave it.
WINDOWS = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wanted, room, found = tonumber(ARGV[1]), nil, {}
for i, key in ipairs(KEYS) do
  local size, span = tonumber(ARGV[2 * i]), ARGV[2 * i + 1] * 1000
  local oldest = redis.call('LINDEX', key, -1)
  while oldest and oldest + span <= now do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
  end
  local used = redis.call('LLEN', key)
  local newest = redis.call('LINDEX', key, 0)
  local left = math.max(size - used, 0)
  room = room and math.min(room, left) or left
  found[i] = {used, oldest and oldest + span - now or 0, newest and newest + span - now or 0}
end
local counted = math.min(wanted, room)
if counted > 0 then
  for i, key in ipairs(KEYS) do
    local span = ARGV[2 * i + 1] * 1000
    for _ = 1, counted do redis.call('LPUSH', key, now) end
    redis.call('PEXPIRE', key, span)
    found[i] = {found[i][1], found[i][2] > 0 and found[i][2] or span, span}
  end
end
return {room, found}
"""


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


@dataclass(frozen=True)
class Quota:
    """So many in such a time, as in `10 per 15 minutes`. The name keeps its counts apart from those of others."""

    name: str
    text: str

    @property
    def item(self) -> RateLimitItem:
        return _parsed(self.text)


@cache
def _parsed(text: str) -> RateLimitItem:
    return parse(text)


@dataclass(frozen=True)
class Window:
    """A quota as it applies to one subject."""

    quota: Quota
    subject: str


@dataclass(frozen=True)
class Standing:
    """How the subject of a window stands: `limit` in all, `remaining` of it, and seconds until all of it is back.

    `wait_seconds` is how long until there is one again, 0 when there is one now.
    """

    limit: int
    remaining: int
    reset_seconds: int
    wait_seconds: int


@dataclass(frozen=True)
class Counted:
    """What came of counting: whether every window had room, and how each of them stands now."""

    free: bool
    standings: tuple[Standing, ...]

    @property
    def tightest(self) -> Standing:
        """The one to tell: what the subject must wait for longest, else what has the smallest limit."""
        return max(
            self.standings, key=lambda standing: (standing.wait_seconds if not self.free else 0, -standing.limit)
        )


def count_all(*windows: Window) -> Counted:
    """Count one in all the windows, or in none when one of them is full."""
    return _ask(windows, 1)[0]


def count_each(times: int, *windows: Window) -> list[Counted]:
    """As `count_all`, so many times one after another."""
    return _ask(windows, times)


def count(quota: Quota, *subject: str) -> bool:
    """Count one for the subject; whether that was still within the quota."""
    return count_all(Window(quota, ":".join(subject))).free


def wait_seconds(quota: Quota, *subject: str) -> int:
    """How long until the subject may again; 0 when it may now. Nothing is counted."""
    return _ask([Window(quota, ":".join(subject))], 0)[0].standings[0].wait_seconds


def limited(quota: Quota, *subjects: Callable[[], str]) -> Callable[[View], View]:
    """Let a page's view be reached so often by each of the subjects, which are asked for with every request.

    Beyond that the view raises `TooManyRequests` and does nothing.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def counted(*args: Any, **values: Any) -> Any:
            found = count_all(*(Window(quota, subject()) for subject in subjects))
            if not found.free:
                raise TooManyRequests(TOO_MANY, retry_after=found.tightest.wait_seconds)
            return view(*args, **values)

        return cast(View, counted)

    return decorate


_own_counts = MovingWindowRateLimiter(MemoryStorage())
_redis_rests_until = 0.0


def _ask(windows: Sequence[Window], times: int) -> list[Counted]:
    """Ask Redis; while it is away, ask this process, so that one request does not wait for it again and again.

    What comes of each time; of none, how things stand.
    """
    global _redis_rests_until  # noqa: PLW0603  one Redis, one state
    url = current_app.config["SETTINGS"].redis_url
    if url is not None and time.monotonic() >= _redis_rests_until:
        try:
            return _ask_redis(url, windows, times)
        except (RedisError, OSError) as error:
            log.warning("limits_counted_here", reason=type(error).__name__)
            _redis_rests_until = time.monotonic() + REDIS_REST_SECONDS
    return [_ask_here(windows, counting=times > 0) for _ in range(max(times, 1))]


def _ask_redis(url: str, windows: Sequence[Window], times: int) -> list[Counted]:
    sizes = [size for window in windows for size in (window.quota.item.amount, window.quota.item.get_expiry())]
    room, found = _script(url)(keys=[_key(window) for window in windows], args=[times, *sizes])

    def counted(number: int) -> Counted:
        """What came of the so-manieth: 0 is how it stood before."""
        standings = [
            _standing(window, used + min(number, room), oldest / 1000, newest / 1000)
            for window, (used, oldest, newest) in zip(windows, found, strict=True)
        ]
        return Counted(room > 0 and number <= room, tuple(standings))

    return [counted(number) for number in range(1, times + 1)] or [counted(0)]


@cache
def _script(url: str) -> Callable[..., Any]:
    return redis_at(url).register_script(WINDOWS)


def _key(window: Window) -> str:
    return f"{PREFIX}:{window.quota.name}:{window.quota.text}:{window.subject}"


def _ask_here(windows: Sequence[Window], *, counting: bool) -> Counted:
    of_each = [(window, window.quota.item, (window.quota.name, window.subject)) for window in windows]
    free = all(_own_counts.test(item, *names) for _, item, names in of_each)
    if free and counting:
        for _, item, names in of_each:
            _own_counts.hit(item, *names)
    standings = []
    for window, item, names in of_each:
        left = _own_counts.get_window_stats(item, *names)
        oldest = max(0.0, left.reset_time - time.time())
        # The library knows only when the oldest leaves; the newest does so after one whole time at most.
        standings.append(_standing(window, item.amount - left.remaining, oldest, item.get_expiry() if oldest else 0.0))
    return Counted(free, tuple(standings))


def _standing(window: Window, used: int, oldest: float, newest: float) -> Standing:
    limit = window.quota.item.amount
    wait = max(1, math.ceil(oldest)) if used >= limit else 0
    return Standing(limit, max(0, limit - used), math.ceil(newest), wait)


def forget_counts() -> None:
    """Begin all counts anew, in Redis and in this process."""
    _own_counts.storage.reset()
    url = current_app.config["SETTINGS"].redis_url
    if url is not None:
        redis = redis_at(url)
        for key in redis.scan_iter(f"{PREFIX}:*", count=1000):
            redis.delete(key)
