"""The requests of the bench as bytes, made before the clock runs: events of 4 KB, each its own and signed, and uses."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator

from portal.webhooks.signature import sign
from tests.bench.stand import HOST, SECRET
from tests.stage import API_KEY

EVENT_BYTES = 4096
_numbers = itertools.count(1)


def _post(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _event() -> bytes:
    """A paid invoice of exactly 4 KB, of a type that the worker applies, so that it is hinted at."""
    event = {
        "id": f"evt_bench{next(_numbers):012}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "type": "invoice.paid",
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": {"id": "in_1Bench", "object": "invoice", "status": "paid", "lines": []}},
    }
    line = {"id": "il_1Bench", "object": "line_item", "amount": 4900, "currency": "usd", "description": "1 x Business"}
    lines = event["data"]["object"]["lines"]  # type: ignore[index]
    while len(json.dumps(event)) < EVENT_BYTES - 300:
        lines.append(line)
    event["data"]["object"]["footer"] = ""  # type: ignore[index]
    event["data"]["object"]["footer"] = "x" * (EVENT_BYTES - len(json.dumps(event)))  # type: ignore[index]
    body = json.dumps(event).encode()
    assert len(body) == EVENT_BYTES
    return body


def webhooks() -> Iterator[bytes]:
    while True:
        body = _event()
        yield _post("/webhooks/stripe", body, Stripe_Signature=sign(body, SECRET, int(time.time())))


def bare() -> Iterator[bytes]:
    """The same bodies for the yardstick, header and all."""
    while True:
        body = _event()
        yield _post("/", body, Stripe_Signature=sign(body, SECRET, int(time.time())))


def reads(customer_id: str) -> Iterator[bytes]:
    """The same customer again and again, with the key that the stand-in asks for."""
    lines = [f"GET /v1/customers/{customer_id} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {API_KEY}"]
    return itertools.repeat("\r\n".join(lines).encode() + b"\r\n\r\n")


def uses(api_keys: list[str]) -> Iterator[bytes]:
    """One use after another, of one team after another."""
    body = json.dumps({"meter": "send_email", "quantity": 1}).encode()
    for secret in itertools.cycle(api_keys):
        key = f"bench-{next(_numbers)}"
        yield _post("/api/v1/usage", body, Authorization=f"Bearer {secret}", Idempotency_Key=key)
