"""The client of the bench: connections that stay open, shared out evenly, each with one request at a time.

A connection stays with the worker process that accepted it, and which one does is up to the kernel: of two workers one
may have seven of eight connections, and then half of the server is measured. So more are opened than are needed, and
as many of each worker's are kept.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from tests.bench.stand import Server

OPENED_AT_ONCE, OPENED_MAX = 4, 400
ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Round:
    """What one round came to. `split` is how many requests each worker process answered, in the order of their pids."""

    seconds: float
    latencies: list[float]
    split: list[int]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class Connection:
    """One open connection to a server, on which requests follow each other."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = int(self.socket.getsockname()[1])

    def ask(self, request: bytes) -> int:
        """Send a request and read its whole answer; returns the status."""
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        missing = _length(head) - len(body)
        while missing > 0:
            missing -= len(self._more())
        return int(head[9:12])

    def _more(self) -> bytes:
        found = self.socket.recv(ANSWER_BYTES)
        if not found:
            raise ConnectionError("the server closed the connection")
        return found

    def close(self) -> None:
        self.socket.close()


def _length(head: bytes) -> int:
    name = b"content-length: "
    begin = head.lower().index(name) + len(name)
    return int(head[begin:].split(b"\r\n", 1)[0])


def connections(server: Server, count: int, first: Iterator[bytes]) -> list[list[Connection]]:
    """As many connections of each worker, `count` in all. On each, one request of `first` has been answered."""
    each = count // len(server.workers())
    found: dict[int, list[Connection]] = defaultdict(list)
    opened = 0
    while min(len(found[pid]) for pid in server.workers()) < each:
        fresh = [Connection(server) for _ in range(OPENED_AT_ONCE)]
        opened += len(fresh)
        if opened > OPENED_MAX:
            raise RuntimeError(f"of {opened} connections one worker took fewer than {each}")
        for one in fresh:
            assert one.ask(next(first)) == 200
        held = _holders(server)
        for one in fresh:
            found[held[one.port]].append(one)
    for pid in server.workers():
        for spare in found[pid][each:]:
            spare.close()
    return [found[pid][:each] for pid in server.workers()]


def _holders(server: Server) -> dict[int, int]:
    """Which worker holds the connection from which port of ours."""
    return {
        connection.raddr.port: pid
        for pid in server.workers()
        for connection in psutil.Process(pid).net_connections("tcp4")
        if connection.raddr
    }


def run(server: Server, requests: Sequence[bytes], count: int, first: Iterator[bytes]) -> Round:
    """Send `requests` over `count` connections, shared out evenly, and wait for all answers."""
    of_workers = connections(server, count, first)
    lines = [connection for of_worker in of_workers for connection in of_worker]
    latencies: list[list[float]] = [[] for _ in lines]
    wrong: list[int] = []
    barrier = threading.Barrier(len(lines) + 1)

    def drive(number: int) -> None:
        line, mine, took = lines[number], requests[number :: len(lines)], latencies[number]
        barrier.wait()
        for request in mine:
            before = time.perf_counter()
            status = line.ask(request)
            took.append(time.perf_counter() - before)
            if status != 200:
                wrong.append(status)

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(len(lines))]
    for thread in threads:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    for line in lines:
        line.close()
    if wrong:
        raise RuntimeError(f"{len(wrong)} answers were not 200, such as {wrong[0]}")
    if sum(map(len, latencies)) != len(requests):
        raise RuntimeError("not every request was answered")
    each = len(lines) // len(of_workers)
    split = [sum(map(len, latencies[number * each : (number + 1) * each])) for number in range(len(of_workers))]
    return Round(seconds, [one for line in latencies for one in line], split)
