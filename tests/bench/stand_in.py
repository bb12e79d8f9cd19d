"""The stand-in for Stripe, and beside it the yardstick of its reads, under the same server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from portal.cli.stack.redis_server import free_port
from tests.bench.stand import SECONDS_MAX, Server, listening, sandbox
from tests.stage import API_KEY

THREADS = 8


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
        ours = sandbox(stack, folder)
        made = requests.post(f"http://127.0.0.1:{ours.port}/v1/customers", auth=(API_KEY, ""), timeout=SECONDS_MAX)
        size = {"BARE_BYTES": str(len(made.content))}
        port = free_port()
        listen = ["waitress", f"--listen=127.0.0.1:{port}", f"--threads={THREADS}", "tests.bench.bare_reads:app"]
        yield StandIn(ours, listening(stack, folder, port, listen, size), made.json()["id"])
