"""The stand-in for Stripe, and beside it the yardstick of its reads, under the same server."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from portal.cli.stack.ports import answers
from portal.cli.stack.redis_server import free_port
from tests.bench.stand import ROOT, SECONDS_MAX, Server, running
from tests.stage import API_KEY

THREADS = 8


class OneProcess(Server):
    """A server that is one process with threads."""

    def workers(self) -> list[int]:
        return [self.pid]


@dataclass(frozen=True)
class StandIn:
    sandbox: Server
    bare: Server
    customer_id: str


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Both servers up, and one customer in the stand-in."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnpike-bench-")))
        port = free_port()
        sandbox = _serve(stack, folder, port, ["portal.sandbox", "--port", str(port), "--api-key", API_KEY], {})
        made = requests.post(f"http://127.0.0.1:{port}/v1/customers", auth=(API_KEY, ""), timeout=SECONDS_MAX)
        size = {"BARE_BYTES": str(len(made.content))}
        port = free_port()
        listen = ["waitress", f"--listen=127.0.0.1:{port}", f"--threads={THREADS}", "tests.bench.bare_reads:app"]
        yield StandIn(sandbox, _serve(stack, folder, port, listen, size), made.json()["id"])


def _serve(stack: ExitStack, folder: Path, port: int, module: list[str], environment: dict[str, str]) -> Server:
    log = folder / f"{port}.log"
    program = running(stack, [sys.executable, "-m", *module], environment, ROOT, signal.SIGTERM, output=log)
    deadline = time.monotonic() + SECONDS_MAX
    while not answers(port):
        if program.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{module[0]} did not start:\n{log.read_text()}")
        time.sleep(0.1)
    return OneProcess(port, program.pid)
