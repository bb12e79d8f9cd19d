"""`POST /webhooks/stripe` at its door: what is refused leaves no row."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
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


def send(client: FlaskClient, body: bytes, header: str | None = None, **more: Any) -> int:
    header = sign(body, WEBHOOK_SECRET, int(time.time())) if header is None else header
    headers = {"Stripe-Signature": header} if header else {}
    return client.post("/webhooks/stripe", data=body, headers=headers, **more).status_code


def rows() -> int:
    return db.session.execute(select(func.count()).select_from(StripeEvent)).scalar_one()


def test_a_signed_event_is_kept_with_its_raw_bytes(client: FlaskClient) -> None:
    assert send(client, BODY) == 200
    assert db.session.execute(select(StripeEvent.body)).scalar_one() == BODY


def test_either_secret_is_accepted_while_one_rolls(client: FlaskClient) -> None:
    assert send(client, BODY, sign(BODY, WEBHOOK_SECRET + "_old", int(time.time()))) == 200


@pytest.mark.parametrize("age", [301, -301])
def test_five_minutes_either_way(client: FlaskClient, age: int) -> None:
    assert send(client, BODY, sign(BODY, WEBHOOK_SECRET, int(time.time()) - age)) == 400
    assert rows() == 0


@pytest.mark.parametrize(
    "header",
    ["", "garbage", "t=1,v1=\u00e9", "signed with another secret", "t=99999999999999999999,v1=00"],
)
def test_a_wrong_header_is_400_and_no_row(client: FlaskClient, header: str) -> None:
    if header == "signed with another secret":
        header = sign(BODY, "whsec_wrong", int(time.time()))
    assert send(client, BODY, header.encode("utf-8").decode("latin-1")) == 400
    assert rows() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(EVENT).encode("utf-16"),
        json.dumps({**EVENT, "livemode": True}).encode(),
        json.dumps({**EVENT, "id": "e" * 300}).encode(),
        json.dumps({**EVENT, "data": {"object": []}}).encode(),
        json.dumps({**EVENT, "data": {"object": {"id": "in_1", "x": "\x00"}}}).encode(),
    ],
)
def test_a_signed_body_that_is_no_event_is_400_and_no_row(client: FlaskClient, body: bytes) -> None:
    assert send(client, body) == 400
    assert rows() == 0


def test_a_changed_byte_and_a_reserialised_body_are_400(client: FlaskClient) -> None:
    header = sign(BODY, WEBHOOK_SECRET, int(time.time()))
    assert send(client, BODY.replace(b"evt_1", b"evt_2"), header) == 400
    assert send(client, json.dumps(EVENT, indent=2).encode(), header) == 400
    assert rows() == 0


def test_three_megabytes_are_413_and_unsigned_depth_is_refused_before_parsing(client: FlaskClient) -> None:
    assert send(client, b"x" * 3_000_000) == 413
    assert send(client, b"[" * 900_000, "t=1,v1=00") == 400
    assert rows() == 0


def test_a_thin_event_is_kept_as_ignored(client: FlaskClient) -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.invoice.paid",
        "livemode": False,
        "created": "2026-11-18T13:02:00.000Z",
        "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    }
    assert send(client, json.dumps(thin).encode()) == 200
    assert db.session.execute(select(StripeEvent.state)).scalar_one() == "ignored"


def test_other_methods_are_405(client: FlaskClient) -> None:
    assert client.get("/webhooks/stripe").status_code == 405
