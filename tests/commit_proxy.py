"""A way to PostgreSQL that is cut exactly at a commit: before the server hears of it, or before the client does.

It understands as much of the protocol as that takes: where messages begin, which statement is meant, and whether a
transaction is open. A statement outside of any is a commit of its own.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

When = Literal["before", "after"]

IDLE, IN_TRANSACTION = b"I", b"T"
# What a client may ask for before it says who it is; it is told that there is none of it, and goes on without.
ENCRYPTION = (80877103, 80877104)


class _Ended(Exception):
    """One of the two ends has gone, or the way is cut."""


@dataclass
class CommitProxy:
    """Listens on a port of this machine. `cuts` are the units it has cut: their statements, the last one's commit."""

    upstream: Callable[[], socket.socket]
    cuts: list[list[str]] = field(default_factory=list)
    _wanted: tuple[When, str] | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self, when: When, word: str) -> None:
        """Cut the next commit of a unit one of whose statements has this word in it."""
        self.cuts.clear()
        self._wanted = when, word

    def take(self, statements: list[str]) -> When | None:
        """Whether this commit is the one to be cut; it is asked once for each."""
        with self._guard:
            if self._wanted is None or not any(self._wanted[1] in statement.lower() for statement in statements):
                return None
            (when, _), self._wanted = self._wanted, None
            self.cuts.append(list(statements))
            return when

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # answers go on message by message
            try:
                server = self.upstream()
            except OSError:
                client.close()
                continue
            _Session(self, client, server).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class _Session:
    def __init__(self, proxy: CommitProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._status = b""
        self._said: list[str] = []
        self._prepared: dict[bytes, str] = {}
        self._bound = ""
        self._deaf = False

    def start(self) -> None:
        for work in (self._from_client, self._from_server):
            threading.Thread(target=self._until_the_end, args=(work,), daemon=True).start()

    def _until_the_end(self, work: Callable[[], None]) -> None:
        with suppress(_Ended, OSError):
            work()
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _from_client(self) -> None:
        while True:
            size = _exactly(self._client, 4)
            body = _exactly(self._client, struct.unpack("!I", size)[0] - 4)
            if struct.unpack("!I", body[:4])[0] not in ENCRYPTION:
                break
            self._client.sendall(b"N")
        self._server.sendall(size + body)
        while True:
            kind, message, body = _message(self._client)
            if self._is_commit(kind, body):
                self._commit()
            self._server.sendall(message)

    def _is_commit(self, kind: bytes, body: bytes) -> bool:
        """Whether the message makes the server commit; remembers what the unit has said."""
        if kind == b"P":
            name, prepared, _ = body.split(b"\0", 2)
            self._prepared[name] = prepared.decode()
        elif kind == b"B":
            self._bound = self._prepared[body.split(b"\0", 2)[1]]
        if kind not in (b"Q", b"E"):
            return False
        statement = body.rstrip(b"\0").decode() if kind == b"Q" else self._bound
        alone = self._status == IDLE
        if alone:
            self._said.clear()
        self._said.append(statement)
        begins = statement.upper().startswith("BEGIN")
        return not begins if alone else self._status == IN_TRANSACTION and statement.upper() == "COMMIT"

    def _commit(self) -> None:
        when = self._proxy.take(self._said)
        if when == "before":
            raise _Ended
        self._deaf = when == "after"

    def _from_server(self) -> None:
        while True:
            kind, message, body = _message(self._server)
            if kind == b"Z":
                self._status = body
                if self._deaf:  # the server has done it and says so, to nobody
                    raise _Ended
            if not self._deaf:
                self._client.sendall(message)


def _message(end: socket.socket) -> tuple[bytes, bytes, bytes]:
    """The next message: its kind, the whole of it, and what follows its header."""
    header = _exactly(end, 5)
    body = _exactly(end, struct.unpack("!I", header[1:])[0] - 4)
    return header[:1], header + body, body


def _exactly(end: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = end.recv(count - len(found))
        if not part:
            raise _Ended
        found += part
    return found


@contextmanager
def commit_proxy(socket_path: str) -> Iterator[CommitProxy]:
    """A running proxy to the server behind a Unix socket."""

    def upstream() -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(socket_path)
        return made

    proxy = CommitProxy(upstream)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
