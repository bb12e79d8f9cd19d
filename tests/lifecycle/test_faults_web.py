"""The door as it is in production: several processes with threads, hammered, killed, and sent broken HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select

from portal.cli.stack import process
from portal.cli.stack.ports import answers
from portal.cli.stack.redis_server import free_port
from portal.core.database import db
from portal.core.failpoints import VARIABLE
from portal.webhooks.models import StripeEvent
from portal.webhooks.signature import sign
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, paid_grants
from tests.stage import WEBHOOK_SECRET, Stage
from tests.web.door import BODY, signed
from tests.worker_process import ROOT, environment_of, until

Serve = Callable[..., str]


@pytest.fixture
def serve(app: Flask, tmp_path: Path) -> Iterator[Serve]:
    """Starts the web server as the stack does; the function returns its address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**extra: str) -> str:
        port = free_port()
        environment = environment_of(app, None) | {"PORT": str(port), "WEB_CONCURRENCY": "2"} | extra
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
        running.append(process.start(command, environment=environment, folder=ROOT, output=tmp_path / "web.log"))
        until(lambda: answers(port) and _ready(port), "the web server is ready")
        return f"http://127.0.0.1:{port}"

    yield start
    for one in running:
        process.stop(one, signal.SIGTERM, seconds_max=30)
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)


def _ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).ok
    except requests.RequestException:
        return False


def post(address: str, event: dict[str, Any]) -> int:
    body = json.dumps(event).encode()
    header = sign(body, WEBHOOK_SECRET, int(time.time()))
    return requests.post(
        f"{address}/webhooks/stripe", data=body, headers={"Stripe-Signature": header}, timeout=60
    ).status_code


def rows() -> int:
    count = db.session.execute(select(func.count()).select_from(StripeEvent)).scalar_one()
    db.session.rollback()
    return count


def test_one_event_fifty_times_at_once_at_two_processes_is_one_row(cast: Cast, stage: Stage, serve: Serve) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(event for event in stage.new_events() if event["type"] == "invoice.paid")
    address = serve()
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: post(address, paid), range(50)))
    assert statuses == [200] * 50
    assert rows() == 1
    stage.drain()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def test_a_web_process_killed_before_its_answer_has_kept_the_event(cast: Cast, stage: Stage, serve: Serve) -> None:
    """Stripe has no answer and sends it again: that is a duplicate, and harmless."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(event for event in stage.new_events() if event["type"] == "invoice.paid")
    address = serve(**{VARIABLE: "webhooks.kept:kill9"})
    with pytest.raises(requests.ConnectionError):
        post(address, paid)
    assert rows() == 1
    assert stage.deliver(paid) == 200
    assert rows() == 1
    stage.drain()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


@dataclass(frozen=True)
class Raw:
    """A request as bytes: the body of a signed event under headers of the test's choice, and what comes of it."""

    headers: Callable[[bytes], list[str]]
    body: Callable[[bytes], bytes]
    statuses: set[int]
    kept: bool
    cut: bool = False


def _chunked(body: bytes, *, ended: bool = True) -> bytes:
    half = len(body) // 2
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])]
    return b"".join(parts) + (b"0\r\n\r\n" if ended else b"")


def _length(count: int) -> str:
    return f"Content-Length: {count}"


CHUNKED = "Transfer-Encoding: chunked"
# 0: closed without an answer, which is right where the sender has gone before the end of what it had announced.
RAW = {
    "in chunks": Raw(lambda _: [CHUNKED], _chunked, {200}, kept=True),
    "in chunks, cut in the middle": Raw(
        lambda _: [CHUNKED], lambda body: _chunked(body, ended=False), {0, 400}, False, True
    ),
    "in chunks of no size": Raw(lambda _: [CHUNKED], lambda body: b"zz\r\n" + body + b"\r\n0\r\n\r\n", {400}, False),
    "in chunks and with a length": Raw(lambda body: [CHUNKED, _length(len(body))], _chunked, {400}, False),
    "an unknown coding": Raw(lambda _: ["Transfer-Encoding: sideways"], _chunked, {400, 501}, False),
    "without a length": Raw(lambda _: [], lambda body: body, {400}, False),
    "too short a length": Raw(lambda body: [_length(len(body) - 9)], lambda body: body, {400}, False),
    # The signature is over every byte of the event, so that one which is here is here whole.
    "too long a length": Raw(lambda body: [_length(len(body) + 9)], lambda body: body, {200}, kept=True, cut=True),
    "cut in the middle": Raw(
        lambda body: [_length(len(body))], lambda body: body[: len(body) // 2], {0, 400}, False, True
    ),
    "two lengths": Raw(lambda body: [_length(len(body)), _length(len(body) - 9)], lambda body: body, {400}, False),
    "the same length twice": Raw(lambda body: [_length(len(body))] * 2, lambda body: body, {400}, False),
    "a negative length": Raw(lambda _: [_length(-1)], lambda body: body, {400}, False),
    "a length of words": Raw(lambda _: ["Content-Length: many"], lambda body: body, {400}, False),
    "with its length": Raw(lambda body: [_length(len(body))], lambda body: body, {200}, kept=True),
}


def test_broken_http_at_the_door_is_refused_and_leaves_no_row(app: Flask, serve: Serve) -> None:
    """Never a 500, and a server that goes on: the last of them is as it should be."""
    port = int(serve().rsplit(":", 1)[1])
    kept = set()
    for name, raw in RAW.items():
        body = BODY.replace(b"evt_1", b"evt_" + name.replace(" ", "_").encode())
        status = _send_raw(port, raw, body)
        assert status in raw.statuses, f"{name}: {status}"
        kept |= {f"evt_{name.replace(' ', '_')}"} if raw.kept else set()
    until(lambda: set(db.session.execute(select(StripeEvent.event_id)).scalars()) == kept, "only what was accepted")


def _send_raw(port: int, raw: Raw, body: bytes) -> int:
    """Send the bytes; returns the status, 0 when the server closed without one."""
    head = ["POST /webhooks/stripe HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    head += [f"Stripe-Signature: {signed(body)}", *raw.headers(body), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall("\r\n".join(head).encode() + raw.body(body))
        if raw.cut:
            wire.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):  # it answered and closed before it had read everything
            while part := wire.recv(65536):
                answer += part
    return int(answer.split(b" ", 2)[1]) if answer else 0
