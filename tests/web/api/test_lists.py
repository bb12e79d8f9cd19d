"""Lists in pages: every row once, whatever the size of a page, the direction, and what comes in between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from portal.core.ids import new_id
from tests.web.api.backend import Backend, error_of

PATH = "/usage/events"


@pytest.fixture
def ids(backend: Backend) -> list[str]:
    """Seven uses, newest first."""
    made = [backend.use(quantity=number).get_json()["id"] for number in range(1, 8)]
    return list(reversed(made))


def page(backend: Backend, **query: Any) -> dict[str, Any]:
    answer = backend.call("GET", PATH, query_string=query)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return dict(answer.get_json())


def ids_of(found: dict[str, Any]) -> list[str]:
    return [row["id"] for row in found["data"]]


def walk(backend: Backend, limit: int) -> Iterator[list[str]]:
    """All pages from the newest on, each with more to come but the last."""
    query: dict[str, Any] = {"limit": limit}
    while True:
        found = page(backend, **query)
        yield ids_of(found)
        if not found["has_more"]:
            return
        query["starting_after"] = found["data"][-1]["id"]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_pages_hold_every_row_once(backend: Backend, ids: list[str], limit: int) -> None:
    pages = list(walk(backend, limit))
    assert list(itertools.chain(*pages)) == ids
    assert [len(rows) for rows in pages[:-1]] == [limit] * (len(pages) - 1)


def test_backwards_leads_to_the_rows_just_before(backend: Backend, ids: list[str]) -> None:
    found = page(backend, limit=2, ending_before=ids[5])
    assert (ids_of(found), found["has_more"]) == (ids[3:5], True)
    found = page(backend, limit=3, ending_before=ids[2])
    assert (ids_of(found), found["has_more"]) == (ids[:2], False)
    assert ids_of(page(backend, ending_before=ids[0])) == []
    assert ids_of(page(backend, starting_after=ids[-1])) == []


def test_a_row_that_comes_meanwhile_moves_nothing(backend: Backend, ids: list[str]) -> None:
    first = page(backend, limit=3)
    backend.use()
    assert ids_of(page(backend, limit=3, starting_after=first["data"][-1]["id"])) == ids[3:6]


def test_ten_a_page_without_a_limit(backend: Backend) -> None:
    for _ in range(11):
        backend.use()
    found = page(backend)
    assert (len(found["data"]), found["has_more"]) == (10, True)


def test_uses_of_one_meter_or_time(backend: Backend) -> None:
    first = backend.use("analyze_lead", 1).get_json()
    second = backend.use("send_email", 1).get_json()
    assert ids_of(page(backend, meter="analyze_lead")) == [first["id"]]
    assert ids_of(page(backend, since=second["created"])) == [second["id"]]
    assert ids_of(page(backend, until=first["created"])) == []
    assert ids_of(page(backend, meter="no_such_meter")) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "-1"}, "limit"), ({"limit": "ten"}, "limit"),
        ({"limit": ""}, "limit"), ({"limit": "1e1"}, "limit"), ({"limit": "1_0"}, "limit"), ({"limit": "9" * 400}, "limit"),
        ({"limit": "\u0661"}, "limit"), ({"since": "yesterday"}, "since"), ({"since": "2026-11-01"}, "since"),
        ({"since": "2026-11-01T00:00:00"}, "since"), ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"), ({"meter": "Bad Meter"}, "meter"), ({"meter": ""}, "meter"),
        ({"starting_after": ""}, "starting_after"), ({"starting_after": "x" * 65}, "starting_after"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_422_and_named(backend: Backend, query: dict[str, str], param: str) -> None:
    answer = backend.call("GET", PATH, query_string=query)
    assert (answer.status_code, error_of(answer)["code"], error_of(answer)["param"]) == (422, "invalid_field", param)


def test_one_direction_at_a_time(backend: Backend, ids: list[str]) -> None:
    answer = backend.call("GET", PATH, query_string={"starting_after": ids[1], "ending_before": ids[3]})
    assert (answer.status_code, error_of(answer)["param"]) == (422, "ending_before")


@pytest.mark.parametrize("path", ["/usage/events", "/invoices"])
def test_s79_a_parameter_has_one_value_and_one_place(backend: Backend, path: str) -> None:
    for query in ("limit=1&limit=2", "team_id=a", "limit=1&team_id=b", "starting_after=a&starting_after=a"):
        answer = backend.call("GET", path, query_string=query)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "unexpected_parameter"), query
    in_the_body = backend.call("GET", path, json={"limit": 1})
    assert in_the_body.status_code == 200


@pytest.mark.parametrize("name", ["starting_after", "ending_before"])
def test_s82_a_cursor_that_was_changed_is_400(backend: Backend, ids: list[str], name: str) -> None:
    cursor = ids[2]
    for place in range(len(cursor)):
        letter = "Z" if cursor[place] != "Z" else "Y"
        changed = cursor[:place] + letter + cursor[place + 1 :]
        answer = backend.call("GET", PATH, query_string={name: changed})
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_cursor"), changed


def test_s82_another_teams_cursor_is_as_unknown_as_a_made_up_one(
    backend: Backend, other_backend: Backend, ids: list[str]
) -> None:
    answers = []
    for cursor in (ids[0], new_id("use"), "nonsense", "caf\u00e9"):
        answer = other_backend.call("GET", PATH, query_string={"starting_after": cursor})
        error = error_of(answer)
        error.pop("request_id")
        answers.append((answer.status_code, error))
    assert answers[0][0] == 400
    assert all(answer == answers[0] for answer in answers)
    assert other_backend.call("GET", PATH, query_string={"starting_after": "\x00"}).status_code == 400


INJECTIONS = (
    "' or '1'='1", "1; drop table usage_events --", "use_'||pg_sleep(5)||'", "\\'; select pg_sleep(5); --",
    "1) union select digest from api_keys --", "${7*7}", "{{7*7}}", "%27%20or%201=1", "send_email' --",
)  # fmt: skip


@pytest.mark.parametrize("name", ["limit", "starting_after", "ending_before", "meter", "since", "until"])
def test_s54_statements_in_parameters_are_values(backend: Backend, ids: list[str], name: str) -> None:
    for payload in INJECTIONS:
        answer = backend.call("GET", PATH, query_string={name: payload})
        assert answer.status_code in (400, 422), payload
    assert ids_of(page(backend)) == ids
