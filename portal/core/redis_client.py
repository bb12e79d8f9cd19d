"""The one way to Redis for a web request: it may lose a quarter of a second to a Redis that hangs, and no more."""

from __future__ import annotations

from functools import lru_cache

from redis import Redis

REDIS_SECONDS = 0.25


@lru_cache(maxsize=4)
def redis_at(url: str) -> Redis:
    """A pool of connections, shared by the threads of this process. Nothing is tried twice."""
    return Redis.from_url(url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS, retry=None)
