"""The web server: threads in a few processes, each of which imports the application for itself (no preload)."""

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

bind = os.environ.get("BIND") or f"127.0.0.1:{os.environ.get('PORT') or 8000}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("WEB_THREADS") or 16)
preload_app = False

# A request may call Stripe once, for at most 8 s: whatever has taken 30 s will not come to an end.
timeout = 30
graceful_timeout = 20
keepalive = 5
# Heartbeats go to a file; in memory, so that a slow disk does not look like a hung worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# Only PROXY_HOPS says whose X-Forwarded-* headers are believed; the server in front of the application believes none.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

# The application logs its requests itself, with their request_id.
accesslog = None
errorlog = "-"
loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()

# Several instances on one host would share the default control socket, and nothing of ours speaks to it.
control_socket_disable = True


# The processes of this server count together; the worker joins when both are given the same folder.
COUNTS = "turnpike-metrics-"
if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=COUNTS)


def on_exit(server: Any) -> None:  # noqa: ARG001
    """Called in the first process only, once the others have ended."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(COUNTS):
        shutil.rmtree(folder, ignore_errors=True)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001
    """What is loaded now lasts as long as the process: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Give a child its own database connections, should somebody switch preloading on: two processes on one would mix their answers."""
    app = worker.app.callable
    if app is None:
        return
    from portal.core.database import db

    with app.app_context():
        for engine in db.engines.values():
            engine.dispose(close=False)
