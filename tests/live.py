"""An app on a port of this machine, in threads of this process: for what only speaks HTTP.

The server is the one that the stand-in runs with. It keeps connections, and takes many requests at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import Flask
from waitress.server import create_server

# Chaos holds some of them for a while.
THREADS = 32
JOIN_SECONDS = 30


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket on a free port, and its address: for an app that has to know its own before it is made."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def served(app: Flask, listener: socket.socket) -> Iterator[None]:
    """Serve the app while the block runs."""
    server = create_server(app, sockets=[listener], threads=THREADS, log_socket_errors=False)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        for channel in list(server.active_channels.values()):
            channel.handle_close()
        server.close()

    try:
        yield
    finally:
        with suppress(OSError):  # the server's loop may be over already, and its trigger closed
            server.trigger.pull_trigger(stop)  # in the server's own thread, which ends when nothing is open any more
        thread.join(JOIN_SECONDS)
        server.task_dispatcher.shutdown(timeout=1)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve the app while the block runs; yields its address."""
    with listening() as (listener, url), served(app, listener):
        yield url
