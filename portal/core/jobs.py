"""Hints to the worker. A hint says "look now"; the work itself stands in PostgreSQL, so that losing one costs a poll.

One queue, JSON, no arguments: nothing in Redis is worth stealing, and nothing in it is needed.
"""

from __future__ import annotations

from functools import lru_cache

import structlog
from flask import current_app
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

log = structlog.get_logger(__name__)

QUEUE = "turnpike"
DRAIN = "portal.worker.drain"
# How much of one kind of work the worker does before it looks at the others.
ROUND = 50
# A hint may cost a request a quarter of a second at worst, also when Redis hangs instead of refusing.
HINT_SECONDS = 0.25


@lru_cache(maxsize=4)
def _connection(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=HINT_SECONDS, socket_timeout=HINT_SECONDS, retry=None)


@lru_cache(maxsize=4)
def _queue(url: str) -> Queue:
    return Queue(QUEUE, connection=_connection(url), serializer=JSONSerializer)


def hint() -> bool:
    """Wake the worker. Never raises; `False` when there is no Redis or it did not answer in time.

    While a hint waits, another one would say nothing new: whoever takes it looks after taking it, and so finds what was
    saved before. A storm of events then costs one question each, and leaves one hint and not thousands.
    """
    url = current_app.config["SETTINGS"].redis_url
    if url is None:
        return False
    try:
        queue = _queue(url)
        if not queue.connection.llen(queue.key):
            # It stays until it is taken, since others rely on it. No time limit: every step of a drain has its own, and
            # this one would be thrown into the middle of any.
            queue.enqueue(DRAIN, result_ttl=0, failure_ttl=60, job_timeout=-1)
    except (RedisError, OSError) as error:
        log.warning("hint_failed", reason=type(error).__name__)
        return False
    return True


def redis_state() -> str:
    """`ok`, `none` (not configured) or `degraded` (configured and away: everything works by polling)."""
    url = current_app.config["SETTINGS"].redis_url
    if url is None:
        return "none"
    try:
        _connection(url).ping()
    except (RedisError, OSError):
        return "degraded"
    return "ok"
