"""Teams are apart: whatever is asked for, by whichever verb, filter or field, only one's own team answers.

The cases are generated from the URL map and from `rows.py`; a new route or kind of id without a case fails.
"""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.routing import Rule

from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast
from tests.web.api.backend import backend_of
from tests.web.security.rows import address_of, kinds_without_a_row, rows_of_team
from tests.web.test_access import TEAM_ROUTES, table_contents, without_request_id

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ENDPOINTS = sorted({endpoint for endpoint, _ in TEAM_ROUTES})

# What a list might be filtered by, in the address or the form, were it to look at it.
FILTERS = ("team_id", "team", "account_id", "customer", "user_id", "owner", "id", "filter[team_id]")

# Tables that note that somebody came by.
NOTED = {"sessions"}


def rule_of(app: Flask, endpoint: str) -> Rule:
    return next(rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint)


def unknown_like(values: dict[str, str]) -> dict[str, str]:
    return {kind: new_id(value.partition("_")[0]) for kind, value in values.items()}


def test_s1_every_kind_of_id_has_a_row(app: Flask) -> None:
    missing = kinds_without_a_row(app)
    assert missing == set(), f"tests/web/security/rows.py needs a line in ROWS for {sorted(missing)}"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_s1_rows_of_others_do_not_exist_whatever_the_verb(app: Flask, cast: Cast, endpoint: str) -> None:
    ours = rows_of_team(cast.team_id, cast.owner.user_id)
    rule = rule_of(app, endpoint)
    foreign, unknown = (address_of(app, rule, values) for values in (ours, unknown_like(ours)))
    for verb in VERBS:
        theirs, nobodys = (cast.outsider.client.open(one, method=verb, data={}) for one in (foreign, unknown))
        assert theirs.status_code == nobodys.status_code, verb
        pages = [without_request_id(answer.get_data(as_text=True)) for answer in (theirs, nobodys)]
        assert pages[0].replace(foreign, "") == pages[1].replace(unknown, ""), verb
        assert theirs.status_code in ((404, 405) if verb != "OPTIONS" else (200, 404)), verb
        if verb in (rule.methods or ()) and verb != "OPTIONS":
            assert theirs.status_code == 404, verb


def test_s1_asking_for_rows_of_others_leaves_them_as_they_were(app: Flask, cast: Cast) -> None:
    ours = rows_of_team(cast.team_id, cast.owner.user_id)
    own = rows_of_team(cast.other_team_id, cast.outsider.user_id)
    cast.outsider.client.get("/teams")
    before = _without_notes(table_contents())
    for endpoint in ENDPOINTS:
        rule = rule_of(app, endpoint)
        nested = {name: own[name] if name == "team_id" else ours[name] for name in rule.arguments}
        for values in [ours] + [nested] * (len(nested) > 1):
            for verb in VERBS:
                cast.outsider.client.open(address_of(app, rule, values), method=verb, data=_all_ids(ours))
    assert _without_notes(table_contents()) == before


# What a call with an id in its address needs to know besides.
API_BODIES: dict[str, dict[str, int]] = {"api_holds.settle_hold": {"amount": 1}, "api_holds.release_hold": {}}


def test_s1_a_key_of_one_team_finds_no_row_of_another_by_the_api(app: Flask, cast: Cast) -> None:
    """Every call with an id in its address, with all else that it asks for."""
    ours = rows_of_team(cast.team_id, cast.owner.user_id)
    backend = backend_of(app, cast.other_team_id, cast.outsider)
    headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": "one"}
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or not rule.arguments:
            continue
        for verb in set(rule.methods or ()) - {"OPTIONS"}:
            body = API_BODIES[rule.endpoint] if verb == "POST" else None
            foreign, unknown = (
                app.test_client().open(address_of(app, rule, values), method=verb, headers=headers, json=body)
                for values in (ours, unknown_like(ours))
            )
            assert foreign.status_code == unknown.status_code == 404, (rule.rule, verb)


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "accounts.teams"])
def test_s3_s79_no_filter_leads_to_another_team(app: Flask, cast: Cast, endpoint: str) -> None:
    """Whatever name the filter has, however often it is given: the team in the address is the only source."""
    rule = rule_of(app, endpoint)
    if "GET" not in (rule.methods or ()):
        return
    theirs = rows_of_team(cast.other_team_id, cast.outsider.user_id)
    with unit_of_work() as session:
        session.execute(text("update teams set name = 'Quexify Labs' where id = :id"), {"id": cast.other_team_id})
        session.execute(
            text("update api_keys set name = 'Quexify key', last4 = 'qxfy' where team_id = :id"),
            {"id": cast.other_team_id},
        )
    db.session.remove()
    ours = rows_of_team(cast.team_id, cast.owner.user_id)
    address, client = address_of(app, rule, ours), cast.owner.client
    plain = client.get(address).status_code
    for name in FILTERS:
        for query in ([(name, cast.other_team_id)], [(name, cast.team_id), (name, cast.other_team_id)]):
            answer = client.get(address, query_string=query, headers={"HX-Request": "true"})
            page = answer.get_data(as_text=True)
            assert "uexify" not in page, (endpoint, query)
            assert not any(f"{one}<" in page for one in theirs.values()), (endpoint, query)
            assert answer.status_code in (plain, 400, 404, 422), (endpoint, query)


def test_s3_the_price_list_shows_another_team_to_nobody(cast: Cast) -> None:
    assert cast.owner.client.get(f"/pricing?team={cast.other_team_id}").status_code == 404
    assert cast.owner.client.get(f"/pricing?team={cast.team_id}").status_code == 200


@pytest.mark.parametrize(("endpoint", "verb"), [route for route in TEAM_ROUTES if route[1] not in ("GET", "HEAD")])
def test_s5_ids_of_others_in_a_form_are_not_looked_at(app: Flask, cast: Cast, endpoint: str, verb: str) -> None:
    """The owner's own form with the other team's ids in it: the other team's rows stay what they are."""
    theirs = rows_of_team(cast.other_team_id, cast.outsider.user_id)
    ours = rows_of_team(cast.team_id, cast.owner.user_id)
    before = _of_team(cast.other_team_id)
    stripes = {"customer": "cus_B", "subscription": "sub_B", "payment_method": "pm_B", "price": "price_B"}
    form = _all_ids(theirs) | stripes | {"plan": "business", "interval": "month", "name": "A key"}
    answer = cast.owner.client.open(address_of(app, rule_of(app, endpoint), ours), method=verb, data=form)
    assert answer.status_code != 500
    assert _of_team(cast.other_team_id) == before


def _all_ids(values: dict[str, str]) -> dict[str, str]:
    return values | dict.fromkeys(FILTERS, values["team_id"])


def _without_notes(tables: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: rows for name, rows in tables.items() if name not in NOTED}


def _of_team(team_id: str) -> dict[str, list[str]]:
    """Every row that names the team, in any table."""
    return {name: [row for row in rows if team_id in row] for name, rows in _without_notes(table_contents()).items()}
