"""`POST /webhooks/stripe` at its door: what is kept, once, and what an unsigned request costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from redis import Connection
from sqlalchemy import event as listening
from sqlalchemy import select

from portal.core import statements
from portal.core.database import db
from portal.core.statements import Row, Statement
from portal.webhooks import routes
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, paid_grants, states, violations
from tests.stage import WEBHOOK_SECRET, Stage
from tests.web.door import BODY, THIN, rows, send, signed
from tests.worker_process import until

REPLAYS = 1_000


def test_a_signed_event_is_kept_with_its_raw_bytes(client: FlaskClient) -> None:
    assert send(client, BODY) == 200
    assert db.session.execute(select(StripeEvent.body)).scalar_one() == BODY


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
def test_what_the_body_is_said_to_be_does_not_matter(client: FlaskClient, content_type: str | None) -> None:
    """The signature is over raw bytes, so nothing may have read them as a form before."""
    assert send(client, BODY, content_type=content_type) == 200
    assert db.session.execute(select(StripeEvent.body)).scalar_one() == BODY


def test_either_secret_is_accepted_while_one_rolls(client: FlaskClient) -> None:
    assert send(client, BODY, signed(BODY, WEBHOOK_SECRET + "_old")) == 200


@pytest.mark.parametrize("age", [299, -299])
def test_almost_five_minutes_either_way_are_accepted(client: FlaskClient, age: int) -> None:
    assert send(client, BODY, signed(BODY, age=age)) == 200


@pytest.mark.parametrize(("event_type", "state"), [("v1.invoice.paid", "pending"), ("v1.invoice.sent", "ignored")])
def test_a_thin_event_is_kept_as_its_snapshot_would_be(client: FlaskClient, event_type: str, state: str) -> None:
    thin = THIN | {"type": event_type, "snapshot_event": "evt_snapshot"}
    assert send(client, json.dumps(thin).encode()) == 200
    kept = db.session.execute(select(StripeEvent.state, StripeEvent.snapshot_event_id)).one()
    assert tuple(kept) == (state, "evt_snapshot")


def test_other_methods_are_405(client: FlaskClient) -> None:
    assert client.get("/webhooks/stripe").status_code == 405


def test_s51_the_same_bytes_a_thousand_times_are_one_row_and_one_effect(cast: Cast, stage: Stage) -> None:
    """As somebody would who has recorded one delivery: same bytes, same signature, before and after it was applied."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    paid = next(event for event in stage.new_events() if event["type"] == "invoice.paid")
    body = json.dumps(paid).encode()
    header = signed(body)
    client = stage.app.test_client()

    assert {send(client, body, header) for _ in range(REPLAYS // 2)} == {200}
    assert rows() == 1
    stage.drain()
    assert {send(client, body, header) for _ in range(REPLAYS // 2)} == {200}
    stage.drain()
    attempts = db.session.execute(select(StripeEvent.attempts)).scalars().all()
    assert attempts == [1], "a replay of what is done is not work again"
    assert states() == {"done"}
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert violations() == []


@contextmanager
def counted_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the code inside asks of PostgreSQL (connections taken, statements sent) and of Redis, in order."""
    trips: list[str] = []

    def took_connection(*_: object) -> None:
        trips.append("connection")

    def sent_statement(self: psycopg.Cursor, statement: str | bytes, *args: object, **more: object) -> psycopg.Cursor:
        trips.append(str(statement))
        return execute(self, statement, *args, **more)

    def ran_statement(connection: psycopg.Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[Row]:
        trips.append(statement.sql)
        return run(connection, statement, parameters)

    def sent_command(self: Connection, *args: object, **more: object) -> None:
        trips.append("redis")
        original(self, *args, **more)

    original: Callable[..., None] = Connection.send_packed_command
    monkeypatch.setattr(Connection, "send_packed_command", sent_command)
    execute: Callable[..., psycopg.Cursor] = psycopg.Cursor.execute
    monkeypatch.setattr(psycopg.Cursor, "execute", sent_statement)
    run = statements.run
    monkeypatch.setattr(statements, "run", ran_statement)
    db.session.remove()
    for engine in db.engines.values():
        listening.listen(engine, "checkout", took_connection)
    try:
        yield trips
    finally:
        for engine in db.engines.values():
            listening.remove(engine, "checkout", took_connection)


@pytest.mark.parametrize("header", ["", "garbage", "wrong secret", "too old", "another body's"])
@pytest.mark.parametrize("who", ["anonymous", "owner"])
def test_s52_an_unsigned_flood_reaches_neither_database_nor_redis_nor_parser(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, who: str, header: str
) -> None:
    """What such a request costs is its bytes and one HMAC, so that it takes nothing from those who are served; also
    when it says that it is JSON and brings the cookie of somebody who is signed in.
    """
    client = cast.owner.client if who == "owner" else cast.anonymous
    made = {
        "wrong secret": signed(BODY, "whsec_wrong"),
        "too old": signed(BODY, age=301),
        "another body's": signed(BODY + b" "),
    }
    parsed: list[bytes] = []
    monkeypatch.setattr(routes, "open_envelope", parsed.append)
    monkeypatch.setattr(Request, "get_json", lambda *_, **__: parsed.append(b"as JSON"))
    json_type = "application/json"
    with counted_trips(monkeypatch) as trips:
        assert {send(client, BODY, made.get(header, header), content_type=json_type) for _ in range(20)} == {400}
    assert trips == []
    assert parsed == []
    assert rows() == 0


def test_s52_the_count_of_trips_sees_those_of_a_signed_event(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_trips(monkeypatch) as trips:
        assert send(client, BODY) == 200
        assert "connection" in trips
        assert any("insert into stripe_events" in trip for trip in trips)
        if app.config["SETTINGS"].redis_url:
            until(lambda: "redis" in trips, "the worker is woken")
