"""The sandbox's clock and its control address."""

from typing import Any

import pytest

from tests.sandbox.driving import KEY, Driver, Wall

PATH = "/_sandbox/clock"
HEADERS = {"Authorization": f"Bearer {KEY}"}


def test_moving_it(sandbox: Driver, wall: Wall) -> None:
    assert sandbox.client.get(PATH, headers=HEADERS).get_json() == {"now": wall.at, "offset_seconds": 0}
    moved = sandbox.client.post(PATH, json={"advance_seconds": 3600}, headers=HEADERS).get_json()
    assert moved == {"now": wall.at + 3600, "offset_seconds": 3600}
    sandbox.client.post(PATH, json={"advance_seconds": 60}, headers=HEADERS)
    assert sandbox.post("/v1/customers")["created"] == wall.at + 3660


def test_what_is_due_happens_at_once(sandbox: Driver) -> None:
    sandbox.session()
    sandbox.client.post(PATH, json={"advance_seconds": 24 * 3600}, headers=HEADERS)
    assert sandbox.event_types()[-1] == "checkout.session.expired"


@pytest.mark.parametrize(
    "body", [{}, [], 5, {"advance_seconds": -1}, {"advance_seconds": "60"}, {"advance_seconds": True}, {"advance_seconds": 10**12}]
)  # fmt: skip
def test_it_never_goes_back(sandbox: Driver, body: Any) -> None:
    assert sandbox.client.post(PATH, json=body, headers=HEADERS).status_code == 400
    assert sandbox.client.get(PATH, headers=HEADERS).get_json()["offset_seconds"] == 0


def test_it_needs_the_key(sandbox: Driver) -> None:
    assert sandbox.client.post(PATH, json={"advance_seconds": 60}).status_code == 401
    assert sandbox.client.get(PATH).status_code == 401
