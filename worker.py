"""The worker process: an RQ worker that hints wake, and a poll loop that needs no hint. Either alone is enough.

Both call the same drain, in threads of one process. Nothing is lost when it is killed: work stands in PostgreSQL
under leases that end with the process or run out.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from types import FrameType

import structlog
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from sqlalchemy.exc import SQLAlchemyError

from portal import create_app
from portal.core import liveness, stopping
from portal.core.jobs import QUEUE
from portal.worker import drain

log = structlog.get_logger("worker")

POLL_SECONDS = 2.0
# How long the RQ worker blocks on its queue, and so how long it may take to notice that it should stop.
BLOCK_SECONDS = 2
RECONNECT_SECONDS = 2.0
# A supervisor should wait a little longer than this before it kills.
STOP_SECONDS = 20


class QueueWorker(SimpleWorker):
    """RQ's worker in a thread: no child processes, no signal handlers (the process has its own), timers by thread."""

    death_penalty_class = TimerDeathPenalty
    # Its pauses while Redis is away would grow to a minute, for which it would stay deaf to a Redis that is back.
    max_connection_wait_time = RECONNECT_SECONDS

    def __init__(self, app: Flask, redis: Redis) -> None:
        super().__init__([QUEUE], connection=redis, serializer=JSONSerializer, worker_ttl=BLOCK_SECONDS + 15)
        self._app = app

    def _install_signal_handlers(self) -> None:
        """The main thread handles signals for the whole process."""

    def subscribe(self) -> None:
        """Take no orders by way of Redis: stopping and looking are all there is to say, and both are said elsewhere."""

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next hint, or None, which ends the work, when the process is to stop: RQ's own wait never looks up."""
        while not stopping.stopping():
            found = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time=max_idle_time or BLOCK_SECONDS)
            if found is not None:
                return found
        return None

    def perform_job(self, job: Job, queue: Queue) -> bool:
        with self._app.app_context():
            return bool(super().perform_job(job, queue))


def poll(app: Flask) -> None:
    """Look every two seconds at most, a little unevenly so that several workers do not look in step."""
    while not stopping.stopping():
        with app.app_context():
            _announce()
            drain()
        stopping.pause(POLL_SECONDS * random.uniform(0.5, 1))  # noqa: S311  spreads load, guards nothing


def _announce() -> None:
    """Without a lock of our own the work still gets done; only its leases then end by time alone."""
    try:
        liveness.announce()
    except SQLAlchemyError as error:
        log.warning("database_unavailable", reason=type(error).__name__)


def listen(app: Flask, url: str) -> None:
    """Run the RQ worker, and run it again whenever Redis went away and it ended."""
    away = False
    while not stopping.stopping():
        redis = Redis.from_url(url, socket_connect_timeout=2, health_check_interval=15, retry=None)
        try:
            QueueWorker(app, redis).work(logging_level="WARNING", with_scheduler=False)
            away = False
        except (RedisError, OSError, SystemExit) as error:
            if not away:  # said once, not every two seconds
                log.warning("queue_unavailable", reason=type(error).__name__)
            away = True
        except Exception:
            log.exception("queue_failed")
        finally:
            redis.close()
        stopping.pause(RECONNECT_SECONDS)


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    # Nothing is logged here: a handler may run in the middle of a line of log.
    stopping.stop()


def main() -> None:
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGINT, _on_signal)
    app = create_app()
    url = app.config["SETTINGS"].redis_url
    log.info("worker_started", pid=os.getpid(), queue=url is not None)
    # A daemon, so that a queue thread stuck in a dead network cannot keep the process: its leases end with it.
    queue = threading.Thread(target=listen, args=(app, url), name="queue", daemon=True)
    if url is not None:
        queue.start()
    poll(app)
    log.info("worker_stopping")
    # Its work is waited for, its talk with Redis only briefly: that one may hang.
    stopping.wait_for_work(STOP_SECONDS)
    if url is not None:
        queue.join(BLOCK_SECONDS + 3)
    liveness.withdraw()
    log.info("worker_stopped")


if __name__ == "__main__":
    main()
