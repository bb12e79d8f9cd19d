"""A request's body is read strictly: what two programs could read differently is refused."""

from __future__ import annotations

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from portal.api.reading import read_json
from portal.core.errors import ApiError


def request(body: bytes, content_type: str | None = "application/json") -> Request:
    return Request(EnvironBuilder(method="POST", data=body, content_type=content_type).get_environ())


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"meter": "send_email", "quantity": 3}', {"meter": "send_email", "quantity": 3}),
        (b" [1, 2.5, null, true]\n", [1, 2.5, None, True]),
        ('{"name": "Zoë"}'.encode(), {"name": "Zoë"}),
        (b"null", None),
    ],
)
def test_json_is_read(body: bytes, value: object) -> None:
    assert read_json(request(body)) == value
    assert read_json(request(body, "application/json; charset=UTF-8")) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"quantity": 3,}', "line 1"),
        (b"{'quantity': 3}", "Expecting property name"),
        (b'{"quantity": NaN}', "NaN is not JSON"),
        (b'{"quantity": Infinity}', "Infinity is not JSON"),
        (b'{"quantity": -Infinity}', "-Infinity is not JSON"),
        (b'{"quantity": 1, "quantity": 2}', "twice"),
        (b'{"a": {"b": 1, "b": 1}}', "twice"),
        (b'{"meter": "\xff"}', "UTF-8"),
        ('{"quantity": 1}'.encode("utf-16"), "UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"quantity": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"meter": "a\x00b"}', "Invalid control character"),
    ],
)
def test_what_cannot_be_read_is_400_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_json(request(body))
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    assert reason in refused.value.message


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/vnd.api+json",
        "application/json; charset=latin-1",
    ],
)
def test_another_type_of_content_is_415(content_type: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        read_json(request(b'{"quantity": 1}', content_type))
    assert refused.value.status == 415
