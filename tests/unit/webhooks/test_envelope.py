"""What is kept of an event, and every kind of body that is not one."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.webhooks.envelope import Malformed, open_envelope


def event(**changes: Any) -> dict[str, Any]:
    whole = {
        "id": "evt_1",
        "object": "event",
        "type": "invoice.paid",
        "api_version": "2026-10-28.endive",
        "created": 1_790_000_000,
        "livemode": False,
        "data": {"object": {"id": "in_1", "object": "invoice"}},
    }
    return {**whole, **changes}


def body(**changes: Any) -> bytes:
    return json.dumps(event(**changes)).encode()


def test_a_snapshot_event() -> None:
    envelope = open_envelope(body())
    assert (envelope.event_id, envelope.type, envelope.object_id) == ("evt_1", "invoice.paid", "in_1")
    assert not envelope.thin
    assert not envelope.livemode
    assert envelope.created_at.tzinfo is not None


def test_a_thin_event_names_its_object_without_a_snapshot() -> None:
    thin = {
        "id": "evt_test_65",
        "object": "v2.core.event",
        "type": "v1.invoice.paid",
        "livemode": False,
        "created": "2026-11-18T13:02:00.000Z",
        "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    }
    envelope = open_envelope(json.dumps(thin).encode())
    assert envelope.thin
    assert envelope.object_id == "in_1"


def test_an_object_without_an_id_is_an_event_all_the_same() -> None:
    summary = body(type="entitlements.active_entitlement_summary.updated", data={"object": {"customer": "cus_1"}})
    assert open_envelope(summary).object_id is None


def test_text_that_only_looks_like_an_escaped_nul_is_kept() -> None:
    assert open_envelope(body(data={"object": {"id": "in_1", "note": "a\\u0000b"}})).object_id == "in_1"


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"5",
        b"null",
        b"true",
        b"{}",
        b"\xff\xfe\x00",
        json.dumps(event()).encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        body().replace(b"1790000000", b"NaN"),
        body().replace(b"1790000000", b"Infinity"),
        body().replace(b"1790000000", b"9" * 5000),
        body().replace(b"1790000000", b"1e400"),
        body(data={"object": {"id": "in_1", "note": "a\x00b"}}),
        body(data={"object": {"id": "in_1", "note": "\ud800"}}),
        body(id="evt\x00"),
        body(id="evt\n1"),
        body(id=None),
        body(id=""),
        body(id=7),
        body(id="e" * 300),
        body(id=["evt_1"]),
        body(object="invoice"),
        body(object=None),
        body(type=None),
        body(type=5),
        body(type="t" * 300),
        body(livemode=None),
        body(livemode="false"),
        body(livemode=0),
        body(created=None),
        body(created="yesterday"),
        body(created=-1),
        body(created=True),
        body(created=1.5),
        body(created=10**15),
        body(data=None),
        body(data=[]),
        body(data={}),
        body(data={"object": []}),
        body(data={"object": "in_1"}),
        body(data={"object": {"id": 5}}),
        body(data={"object": {"id": "i" * 300}}),
        body(api_version=5),
    ],
)
def test_malformed_bodies_are_refused(bad: bytes) -> None:
    with pytest.raises(Malformed):
        open_envelope(bad)


@given(st.binary(max_size=500))
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    with pytest.raises(Malformed):
        open_envelope(noise)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(field=st.sampled_from(["id", "object", "type", "livemode", "created", "data", "api_version"]), value=json_values)
def test_one_field_of_any_shape_is_read_or_refused(field: str, value: Any) -> None:
    with contextlib.suppress(Malformed):
        open_envelope(json.dumps(event(**{field: value})).encode())
