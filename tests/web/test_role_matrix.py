"""Everybody at every door: each path of the URL map, by each method, for each of six visitors.

The tables of `test_access.py` say what a route is; a route without a line there has no verdict and fails here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core.authz import may
from tests import switches
from tests.cast import Cast, gather
from tests.conftest import empty_tables
from tests.web.security.addresses import OTHER_VALUES
from tests.web.security.rows import address_of, rows_of_team
from tests.web.test_access import CLOSED, PERSONAL, PROGRAMS, PUBLIC, TEAM_ROUTES

VISITORS = ("owner", "admin", "billing", "member", "outsider", "anonymous")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What a visitor gets: in (whatever the page then makes of an empty form), to the door, no right, nothing there, no such
# method; or the same as everybody, whoever is signed in.
IN, DOOR, FORBIDDEN, NOT_THERE, NO_METHOD, AS_EVERYBODY = "in", "door", "forbidden", "not there", "no method", "alike"
KINDS = {"team": {endpoint for endpoint, _ in TEAM_ROUTES}, "personal": PERSONAL, "closed": CLOSED, "public": PUBLIC,
         "program": PROGRAMS}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One path by one method; `endpoint` is None where the path has no such method."""

    path: str
    method: str
    endpoint: str | None

    @property
    def kind(self) -> str:
        if self.endpoint is None:
            return "no method"
        return next(kind for kind, endpoints in KINDS.items() if self.endpoint in endpoints)


def rows(app: Flask) -> Iterator[Row]:
    """Every path of the map with every method, whether there is a route for it or not.

    Where another path with a variable in it takes what this one does not, the cell is that one's.
    """
    found: dict[str, dict[str, str]] = {}
    routes = app.url_map.bind("")
    for rule in app.url_map.iter_rules():
        of_path = found.setdefault(rule.rule, {})
        of_path |= {method: rule.endpoint for method in METHODS if method in (rule.methods or ())}
    for path, endpoints in found.items():
        for method in METHODS:
            if method in endpoints or not routes.test(path, method):
                yield Row(path, method, endpoints.get(method))


def verdict(row: Row, visitor: str) -> str:
    match row.kind:
        case "no method":
            return NO_METHOD
        case "closed":
            return NOT_THERE
        case "public" | "program":
            return AS_EVERYBODY
        case "personal":
            return DOOR if visitor == "anonymous" else IN
        case "team":
            assert row.endpoint is not None
            action = TEAM_ROUTES[row.endpoint, "GET" if row.method == "HEAD" else row.method]
            if visitor in ("outsider", "anonymous"):
                return NOT_THERE if visitor == "outsider" else DOOR
            return IN if may(visitor, action) else FORBIDDEN
    raise AssertionError(row)


def who_asks(row: Row) -> tuple[str, ...]:
    """All six, but where nobody is looked at: that there is no such method is found before it is asked who is there."""
    return VISITORS if row.endpoint else ("owner", "anonymous")


def clients(cast: Cast) -> dict[str, FlaskClient]:
    people = {name: person.client for name, person in cast.by_role().items()}
    return people | {"outsider": cast.outsider.client, "anonymous": cast.anonymous}


def ask(app: Flask, row: Row, client: FlaskClient, values: dict[str, str]) -> tuple[int, str]:
    rule = next(rule for rule in app.url_map.iter_rules() if rule.rule == row.path)
    address = address_of(app, rule, values)
    answer = client.open(address, method=row.method, data={}, buffered=True)
    return answer.status_code, answer.location or ""


def fits(said: str, answer: tuple[int, str]) -> bool:
    status, location = answer
    at_the_door = status == 401 or (status in (302, 303) and location.startswith("/login?"))
    return {
        IN: not at_the_door and status != 403 and status < 500,
        DOOR: at_the_door,
        FORBIDDEN: status == 403,
        NOT_THERE: status == 404,
        NO_METHOD: status == 405,
    }[said]


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    switches.without_limits(monkeypatch)


@pytest.mark.parametrize("kind", [*KINDS, "no method"])
def test_s8_every_cell_of_the_matrix(app: Flask, kind: str) -> None:
    """Each row with people of its own, since some rows sign somebody out or end what the next one would ask for."""
    wrong, asked = [], 0
    cast = gather(app)
    values = OTHER_VALUES | rows_of_team(cast.team_id, cast.owner.user_id)
    of_kind = [row for row in rows(app) if row.kind == kind]
    for number, row in enumerate(of_kind):
        if number and row.method not in ("GET", "HEAD") and row.endpoint is not None:
            empty_tables(app)
            cast = gather(app)
            values = OTHER_VALUES | rows_of_team(cast.team_id, cast.owner.user_id)
        browsers = clients(cast)
        answers = {visitor: ask(app, row, browsers[visitor], values) for visitor in who_asks(row)}
        asked += len(answers)
        for visitor, answer in answers.items():
            said = verdict(row, visitor)
            alike = said == AS_EVERYBODY
            if not (_open_to_all(row, visitor, answer) if alike else fits(said, answer)):
                wrong.append((row.method, row.path, visitor, said, answer))
    assert wrong == []
    assert asked == sum(len(who_asks(row)) for row in of_kind) > 0


def _open_to_all(row: Row, visitor: str, answer: tuple[int, str]) -> bool:
    """A public page turns nobody away; to a program's door no session is a key."""
    if row.kind == "public":
        return fits(DOOR if row.endpoint == "accounts.accept_invitation" and visitor == "anonymous" else IN, answer)
    open_to_all = row.endpoint in ("api-docs.openapi_json", "metrics.metrics")  # the latter has no token in tests
    return answer[0] == 200 if open_to_all else answer[0] in (400, 401, 403, 404, 415)


def test_every_row_of_the_url_map_has_a_kind(app: Flask) -> None:
    found = list(rows(app))
    assert {row.kind for row in found} == {*KINDS, "no method"}
    served = {(row.endpoint, row.method) for row in found if row.endpoint}
    assert served == {
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & set(METHODS)
    }, "two routes share a path and a method, and one of them has no row"
