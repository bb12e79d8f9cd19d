"""The webhook door for tests: what Stripe sends, signed now, and how many rows came of it."""

from __future__ import annotations

import json
import time
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.core.database import db
from portal.webhooks.models import StripeEvent
from portal.webhooks.signature import sign
from tests.stage import WEBHOOK_SECRET

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_790_000_000,
    "livemode": False,
    "data": {"object": {"id": "in_1", "object": "invoice"}},
}
BODY = json.dumps(EVENT).encode()

THIN: dict[str, Any] = {
    "id": "evt_thin",
    "object": "v2.core.event",
    "type": "v1.invoice.paid",
    "livemode": False,
    "created": "2026-11-18T13:02:00.000Z",
    "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
}


def signed(body: bytes, secret: str = WEBHOOK_SECRET, age: int = 0) -> str:
    """The header for `body`, made `age` seconds ago."""
    return sign(body, secret, int(time.time()) - age)


def send(client: FlaskClient, body: bytes, header: str | None = None, **more: Any) -> int:
    """Post `body`; without a header of the test's own it is signed as it should be, with an empty one not at all."""
    header = signed(body) if header is None else header
    headers = {"Stripe-Signature": header} if header else {}
    return client.post("/webhooks/stripe", data=body, headers=headers, **more).status_code


def event(**changes: Any) -> bytes:
    """The event with some fields changed; a field that is `...` is left out."""
    whole = {**EVENT, **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def rows() -> int:
    count = db.session.execute(select(func.count()).select_from(StripeEvent)).scalar_one()
    db.session.rollback()
    return count
