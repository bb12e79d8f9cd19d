"""The door as it is in production: several processes with threads, hammered and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
