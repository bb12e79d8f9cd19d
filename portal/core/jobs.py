"""Hints to the worker. A hint says "look now"; the work itself stands in PostgreSQL, so that losing one costs a poll.

One queue, JSON, no arguments: nothing in Redis is worth stealing, and nothing in it is needed.
"""

from __future__ import annotations

import threading
import time
from functools import lru_cache

import structlog
from flask import current_app
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from portal.core.redis_client import redis_at

log = structlog.get_logger(__name__)

QUEUE = "turnpike"
DRAIN = "portal.worker.drain"
# How much of one kind of work the worker does before it looks at the others.
ROUND = 50
# While requests come in one after another, they share hints that are this far apart.
HINT_PAUSE_SECONDS = 0.05


@lru_cache(maxsize=4)
def _queue(url: str) -> Queue:
    return Queue(QUEUE, connection=redis_at(url), serializer=JSONSerializer)


def hint_soon() -> None:
    """Wake the worker, without waiting for Redis: a thread of this process does that, once for all who asked meanwhile.

    So neither a Redis that hangs nor a storm of events costs a request anything.
    """
    url = current_app.config["SETTINGS"].redis_url
    if url is not None:
        _hinter.ask(url)


def hint() -> bool:
    """Wake the worker now. Never raises; `False` when there is no Redis or it did not answer in time."""
    url = current_app.config["SETTINGS"].redis_url
    return url is not None and _hint(url)


def _hint(url: str) -> bool:
    """While a hint waits, another one would say nothing new: whoever takes it looks after taking it, and so finds what
    was saved before. A storm of events leaves one hint and not thousands.
    """
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


class _Hinter:
    """A thread that hints when it is asked to. It begins with the first request that asks, and never outlives us."""

    def __init__(self) -> None:
        self._url = ""
        self._asked = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, url: str) -> None:
        self._url = url
        if self._thread is None:
            self._start()
        if not self._asked.is_set():
            self._asked.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            # Forgotten before looking: whoever asks from now on has saved something that a hint sent before may miss.
            self._asked.clear()
            _hint(self._url)
            time.sleep(HINT_PAUSE_SECONDS)


_hinter = _Hinter()


def redis_state() -> str:
    """`ok`, `none` (not configured) or `degraded` (configured and away: everything works by polling)."""
    url = current_app.config["SETTINGS"].redis_url
    if url is None:
        return "none"
    try:
        redis_at(url).ping()
    except (RedisError, OSError):
        return "degraded"
    return "ok"
