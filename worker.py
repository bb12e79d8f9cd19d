"""The worker process: an RQ worker that hints wake, and a poll loop that needs no hint. Either alone is enough.

Both call the same drain, in threads of one process. Nothing is lost when it is killed: work stands in PostgreSQL
under leases that run out.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from types import FrameType

import structlog
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from portal import create_app
from portal.core.jobs import QUEUE
from portal.settings import SettingsError
from portal.worker import drain

log = structlog.get_logger("worker")

POLL_SECONDS = 2.0
# How long the RQ worker blocks on its queue, and so how long it may take to notice that it should stop.
BLOCK_SECONDS = 2
RECONNECT_SECONDS = 1.0
# A supervisor should wait a little longer than this before it kills.
STOP_SECONDS = 20


class QueueWorker(SimpleWorker):
    """RQ's worker in a thread: no child processes, no signal handlers (the process has its own), timers by thread."""

    death_penalty_class = TimerDeathPenalty

    def __init__(self, app: Flask, redis: Redis) -> None:
        super().__init__([QUEUE], connection=redis, serializer=JSONSerializer, worker_ttl=BLOCK_SECONDS + 15)
        self._app = app

    def _install_signal_handlers(self) -> None:
        """The main thread handles signals for the whole process."""

    def perform_job(self, *args: object, **kwargs: object) -> bool:
        with self._app.app_context():
            return bool(super().perform_job(*args, **kwargs))


def poll(app: Flask, stop: threading.Event) -> None:
    """Look every two seconds at most, a little unevenly so that several workers do not look in step."""
    while not stop.is_set():
        with app.app_context():
            drain()
        stop.wait(POLL_SECONDS * random.uniform(0.5, 1))  # noqa: S311  spreads load, guards nothing


def listen(app: Flask, url: str, stop: threading.Event) -> None:
    """Run the RQ worker, and run it again whenever Redis went away and it ended."""
    while not stop.is_set():
        redis = Redis.from_url(url, socket_connect_timeout=2, health_check_interval=15)
        worker = QueueWorker(app, redis)
        stopper = threading.Thread(target=_stop_with, args=(worker, stop), daemon=True)
        stopper.start()
        try:
            worker.work(logging_level="WARNING", with_scheduler=False)
        except (RedisError, OSError, SystemExit) as error:
            log.warning("queue_unavailable", reason=type(error).__name__)
        stop.wait(RECONNECT_SECONDS)


def _stop_with(worker: QueueWorker, stop: threading.Event) -> None:
    stop.wait()
    worker._stop_requested = True  # noqa: SLF001  its own way is a signal handler, which only the main thread may have


def main() -> None:
    try:
        app = create_app()
    except SettingsError as error:
        sys.exit(f"turnpike: {error}")
    url = app.config["SETTINGS"].redis_url
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("worker_stopping", signal=signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    log.info("worker_started", pid=os.getpid(), queue=url is not None)
    # A daemon, so that a queue thread stuck in a dead network cannot keep the process: its leases run out.
    queue = threading.Thread(target=listen, args=(app, url, stop), name="queue", daemon=True)
    if url is not None:
        queue.start()
    poll(app, stop)
    if url is not None:
        queue.join(STOP_SECONDS)
    log.info("worker_stopped")


if __name__ == "__main__":
    main()
