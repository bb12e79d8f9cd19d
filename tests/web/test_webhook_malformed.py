"""Every kind of request that Stripe would not send: 400, or 413 for its size, never 500 and never a row."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from portal.webhooks import routes
from tests.stage import WEBHOOK_SECRET
from tests.web.door import BODY, EVENT, event, rows, send, signed

# In these, `NOW` and `HMAC` are what the header of the body should hold, so that nothing else is wrong with them.
HEADERS = {
    "none": "",
    "a blank": " ",
    "garbage": "garbage",
    "only commas": ",,,,",
    "v1 is not ASCII": "t=NOW,v1=\u00e9",
    "v1 is not UTF-8": "t=NOW,v1=\udcff",
    "no v1": "t=NOW",
    "v0 only": "t=NOW,v0=HMAC",
    "v1 is empty": "t=NOW,v1=",
    "v1 with a digit more": "t=NOW,v1=HMAC0",
    "v1 in quotes": 't=NOW,v1="HMAC"',
    "t is missing": "v1=HMAC",
    "t is empty": "t=,v1=HMAC",
    "t is a word": "t=now,v1=HMAC",
    "t is negative": "t=-NOW,v1=HMAC",
    "t is a fraction": "t=NOW.0,v1=HMAC",
    "t has a digit more": "t=NOW0,v1=HMAC",
    "t is in other digits": "t=\u0661\u0662,v1=HMAC",
    "t is huge": "t=99999999999999999999,v1=HMAC",
    "t is longer than any number": f"t={'9' * 5000},v1=HMAC",
    "t twice": "t=1,t=NOW,v1=HMAC",
    "ten thousand v1": ",".join(["t=NOW", *["v1=00"] * 10_000, "v1=HMAC"]),
}

BODIES = {
    "empty": b"",
    "not JSON": b"x",
    "half of it": BODY[: len(BODY) // 2],
    "something behind it": BODY + b"x",
    "two of them": BODY + BODY,
    "a list": b"[]",
    "a list of events": b"[" + BODY + b"]",
    "a string": b'"evt_1"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "an empty object": b"{}",
    "not UTF-8": b"\xff\xfe",
    "not UTF-8 in a string": BODY.replace(b"in_1", b"in_\xe9"),
    "UTF-16": json.dumps(EVENT).encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + BODY,
    "100,000 lists deep": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000,
    "deep inside an event": event(data={"object": {"id": "in_1", "x": "deep"}}).replace(
        b'"deep"', b"[" * 100_000 + b"]" * 100_000
    ),
    "NaN": BODY.replace(b"1790000000", b"NaN"),
    "Infinity": BODY.replace(b"1790000000", b"-Infinity"),
    "NaN beside what is read": event(extra=float("nan")),
    "a NUL": event(data={"object": {"id": "in_1", "x": "\x00"}}),
    "a NUL in a name": event(data={"object": {"id": "in_1", "\x00": 1}}),
    "a raw NUL": BODY.replace(b"in_1", b"in_\x00"),
    "a lone surrogate": event(data={"object": {"id": "in_1", "x": "\ud800"}}),
    "a lone surrogate as its id": event(id="evt_\udfff"),
    "no data": event(data=...),
    "data null": event(data=None),
    "data a list": event(data=[]),
    "data.object missing": event(data={}),
    "data.object null": event(data={"object": None}),
    "data.object a list": event(data={"object": []}),
    "data.object a string": event(data={"object": "in_1"}),
    "data.object.id a number": event(data={"object": {"id": 1}}),
    "data.object.id of 300 characters": event(data={"object": {"id": "i" * 300}}),
    "id missing": event(id=...),
    "id null": event(id=None),
    "id empty": event(id=""),
    "id a number": event(id=5),
    "id a list": event(id=["evt_1"]),
    "id of 300 characters": event(id="e" * 300),
    "id of two lines": event(id="evt_1\nevt_2"),
    "type missing": event(type=...),
    "type null": event(type=None),
    "type an object": event(type={}),
    "type of 300 characters": event(type="t" * 300),
    "object missing": event(object=...),
    "another object": event(object="invoice"),
    "api_version a number": event(api_version=20),
    "created missing": event(created=...),
    "created a string": event(created="now"),
    "created a fraction": event(created=1.5),
    "created true": event(created=True),
    "created before 1970": event(created=-1),
    "created after the year 9999": event(created=10**18),
    "a number of 5,000 digits": BODY.replace(b"1790000000", b"1" * 5000),
    "livemode missing": event(livemode=...),
    "livemode a word": event(livemode="false"),
    "livemode of the other mode": event(livemode=True),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_s50_a_wrong_header_is_400_and_no_row(client: FlaskClient, header: str) -> None:
    now, hmac = signed(BODY).removeprefix("t=").split(",v1=")
    on_the_wire = header.replace("NOW", now).replace("HMAC", hmac).encode("utf-8", "surrogateescape").decode("latin-1")
    assert send(client, BODY, on_the_wire) == 400
    assert rows() == 0


@pytest.mark.parametrize("age", [301, -301, 3600, -3600, 10**9])
def test_s50_a_signature_that_is_old_or_ahead_is_400_and_no_row(client: FlaskClient, age: int) -> None:
    assert send(client, BODY, signed(BODY, age=age)) == 400
    assert rows() == 0


@pytest.mark.parametrize("secret", ["", "whsec_of_another_endpoint", WEBHOOK_SECRET[:-1], WEBHOOK_SECRET.upper()])
def test_s50_another_secret_is_400_and_no_row(client: FlaskClient, secret: str) -> None:
    assert send(client, BODY, signed(BODY, secret)) == 400
    assert rows() == 0


def test_s50_any_byte_that_was_changed_is_400_and_no_row(client: FlaskClient) -> None:
    header = signed(BODY)
    for place in range(len(BODY)):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert send(client, changed, header) == 400
    assert rows() == 0


@pytest.mark.parametrize("how", [{"indent": 2}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_s50_a_body_that_was_written_anew_is_400_and_no_row(client: FlaskClient, how: dict[str, object]) -> None:
    assert send(client, json.dumps(EVENT, **how).encode(), signed(BODY)) == 400  # type: ignore[arg-type]
    assert rows() == 0


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_s53_a_signed_body_that_is_no_event_is_400_and_no_row(client: FlaskClient, body: bytes) -> None:
    assert send(client, body, content_type="application/json") == 400
    assert rows() == 0


@pytest.mark.parametrize("charset", ["utf-16", "utf-32", "latin-1", "no-such-charset"])
def test_s53_a_charset_that_the_request_names_changes_nothing(client: FlaskClient, charset: str) -> None:
    """JSON is UTF-8: a body that is not is refused, and one that is is read as such."""
    said = f"application/json; charset={charset}"
    assert send(client, json.dumps(EVENT).encode("utf-16"), content_type=said) == 400
    assert rows() == 0
    assert send(client, BODY, content_type=said) == 200
    assert rows() == 1


@pytest.mark.parametrize("header", [None, "", "t=1,v1=00"], ids=["signed", "no header", "wrong header"])
@pytest.mark.parametrize("megabytes", [1.1, 3])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_s53_too_many_bytes_are_413_signed_or_not(
    client: FlaskClient, content_type: str, megabytes: float, header: str | None
) -> None:
    body = event(data={"object": {"id": "in_1", "x": "x" * int(megabytes * 1_000_000)}})
    assert send(client, body, header, content_type=content_type) == 413
    assert rows() == 0


def test_s53_depth_without_a_signature_is_refused_before_it_is_parsed(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "open_envelope", lambda body: pytest.fail(f"{len(body)} bytes were parsed"))
    assert send(client, b"[" * 900_000, "t=1,v1=00", content_type="application/json") == 400
    assert rows() == 0
