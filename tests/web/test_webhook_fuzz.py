"""2,000 requests at the webhook door, made from real events by a seeded hand: a row for what is still an event, else 400
or 413, and never a 500. What is kept then goes through the worker, which it must neither stop nor mislead.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.core.database import db
from portal.webhooks import apply
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, make_buyer, paid_grants, states, violations
from tests.stage import Stage
from tests.web.door import THIN, send, signed

SEED = 2026_11_25
SIGNED, UNSIGNED = 1_400, 600
# How many of what was kept the worker tries; each may be a few calls to Stripe.
APPLIED = 60

Change = Callable[[random.Random, dict[str, Any]], bytes]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, 10**4000, float("inf"), float("nan"), "", " ", "x" * 256,
    "x" * 5000, [], [[]], {}, {"id": "in_1"}, {"": ""}, "\x00", "a\\u0000b", "\ud800", "\udfff\ud800", "\ufeff", "\u202e",
    "\u2028", "\U0001f980" * 60, "e\u0301" * 90, "../../v1/customers", "in_1?expand[]=customer", "'; drop table x; --",
    "\r\nSet-Cookie: a=b", "%00", "${jndi:ldap://127.0.0.1/}", "{{7*7}}",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "latin-1", "cp037")
CONTENT_TYPES = (
    "application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "text/plain",
    "multipart/form-data; boundary=x", "multipart/form-data", "\u00e9", "",
)  # fmt: skip


def dumped(event: Any) -> bytes:
    """As bytes that keep whatever is in it, lone surrogates too."""
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and by which name or number."""
    found: list[tuple[Any, Any]] = []
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        found += [(value, name), *places(value[name])]
    return found


def some_place(rng: random.Random, event: dict[str, Any]) -> tuple[Any, Any]:
    """A place in the event: every second time one that the door reads."""
    read = [(event, name) for name in event] + [(event["data"], "object")] if "data" in event else [(event, "id")]
    return rng.choice(read if rng.random() < 0.5 else places(event))


def nothing(rng: random.Random, event: dict[str, Any]) -> bytes:
    return json.dumps(event, indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.5).encode()


def another_value(rng: random.Random, event: dict[str, Any]) -> bytes:
    for _ in range(rng.randint(1, 3)):
        holder, name = some_place(rng, event)
        holder[name] = rng.choice(VALUES)
        if "data" in event and not isinstance(event["data"], dict):
            break
    return dumped(event) if rng.random() < 0.5 else json.dumps(event).encode()


def a_field_less(rng: random.Random, event: dict[str, Any]) -> bytes:
    holder, name = some_place(rng, event)
    del holder[name]
    return dumped(event)


def a_name_twice(rng: random.Random, event: dict[str, Any]) -> bytes:
    again = json.dumps({rng.choice(list(event)): rng.choice(VALUES[:12])}).encode()
    return dumped(event)[:-1] + b", " + again[1:]


def an_odd_name(rng: random.Random, event: dict[str, Any]) -> bytes:
    event[rng.choice([value for value in VALUES if isinstance(value, str)])] = rng.choice(VALUES)
    return dumped(event)


def deep(rng: random.Random, event: dict[str, Any]) -> bytes:
    holder, name = some_place(rng, event)
    holder[name] = "here"
    depth = rng.choice([10, 500, 5_000, 100_000, 400_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    if opening != b"[":
        depth //= 4
    middle = b"1" if rng.random() < 0.5 else b"[]"
    return dumped(event).replace(b'"here"', opening * depth + middle + closing * depth)


def wide(rng: random.Random, event: dict[str, Any]) -> bytes:
    """Fifty names of five hundred characters, as metadata may hold, or more than the door takes."""
    characters = rng.choice([500, 5_000, 25_000])
    event["data" if rng.random() < 0.2 else "metadata"] = {
        f"name_{number}": "\u00e9" * characters for number in range(50)
    }
    return dumped(event)


def another_encoding(rng: random.Random, event: dict[str, Any]) -> bytes:
    event["note"] = "\u00e9"
    return json.dumps(event, ensure_ascii=False).encode(rng.choice(ENCODINGS))


def flipped(rng: random.Random, event: dict[str, Any]) -> bytes:
    body = bytearray(dumped(event))
    for _ in range(rng.randint(1, 8)):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(body)


def cut(rng: random.Random, event: dict[str, Any]) -> bytes:
    body = dumped(event)
    return body[: rng.randrange(len(body))]


def with_noise(rng: random.Random, event: dict[str, Any]) -> bytes:
    body = dumped(event)
    place = rng.randint(0, len(body))
    return body[:place] + rng.randbytes(rng.randint(1, 40)) + body[place:]


def a_piece_twice(rng: random.Random, event: dict[str, Any]) -> bytes:
    body = dumped(event)
    begin, end = sorted(rng.randint(0, len(body)) for _ in range(2))
    return body[:end] + body[begin:]


CHANGES: tuple[Change, ...] = (
    nothing, another_value, another_value, another_value, a_field_less, a_name_twice, an_odd_name, deep, wide,
    another_encoding, flipped, flipped, cut, with_noise, a_piece_twice,
)  # fmt: skip


def wrong_header(rng: random.Random, body: bytes) -> str:
    """A header that does not prove `body`, one way or another."""
    good = signed(body)
    place = rng.randrange(len(good))
    return rng.choice(
        [
            "",
            signed(body, "whsec_wrong"),
            signed(body, age=rng.choice([301, -301, 10**6])),
            signed(body + b"\n"),
            good[:place],
            good[:place] + chr(rng.randrange(0x80, 0x100)) + good[place + 1 :],
            "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(rng.randint(1, 200))),
            good.upper(),
        ]
    )


@pytest.fixture
def real_events(cast: Cast, stage: Stage) -> list[dict[str, Any]]:
    """What a purchase brings, and a thin event."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    return [*stage.new_events(), THIN]


def test_s53_two_thousand_fuzzed_requests(
    cast: Cast, stage: Stage, real_events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(SEED)
    monkeypatch.setattr("portal.core.jobs.hint", lambda: False)  # the worker's wake-ups are another story
    client = stage.app.test_client()
    answers: Counter[int] = Counter()
    kept: dict[str, bytes] = {}
    for number in range(SIGNED + UNSIGNED):
        event = json.loads(json.dumps(rng.choice(real_events))) | {"id": f"evt_fuzz{number}"}
        change = rng.choice(CHANGES)
        body = change(rng, event)
        header = None if number < SIGNED else wrong_header(rng, body)
        status = send(client, body, header, content_type=rng.choice(CONTENT_TYPES))
        assert status in ((200, 400, 413) if header is None else (400, 413)), (number, change.__name__, status)
        assert status == 200 or change is not nothing or header is not None, f"{number}: a real event was refused"
        answers[status] += 1
        if status == 200:
            kept.setdefault(json.loads(body)["id"], body)

    found = db.session.execute(select(StripeEvent.event_id, StripeEvent.body)).all()
    assert {row.event_id: row.body for row in found} == kept
    assert len(found) == len(kept)
    assert min(answers.values()) > 5, f"the requests are too much alike: {answers}"
    assert answers[200] > 200
    _worker_goes_on(cast, stage, kept)


def _worker_goes_on(cast: Cast, stage: Stage, kept: dict[str, bytes]) -> None:
    """Whatever the kept events say, what is true is asked of Stripe: one effect, and the next customer is served."""
    spared = sorted(kept)[APPLIED:]
    db.session.execute(
        text("update stripe_events set state = 'held' where event_id = any(:spared)"), {"spared": spared}
    )
    db.session.commit()
    apply.drain()
    assert set(db.session.execute(select(StripeEvent.lease_token)).scalars()) == {None}
    assert "dead" not in states()
    person, team_id = make_buyer(stage.app, "The next customer")
    stage.subscribe(person, team_id, "business")
    stage.deliver_all()
    assert paid_grants(team_id) == [BUSINESS_CREDITS]
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert violations() == []
