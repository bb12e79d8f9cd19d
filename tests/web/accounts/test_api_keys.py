"""The page of API keys: who sees it, who changes it, and that a secret is shown once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from portal.accounts.api_keys import LIVE_KEYS_MAX, Scope, find_key
from portal.accounts.models import ApiKey
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast, Person

HTMX = {"HX-Request": "true"}
SECRET = re.compile(r"tp_test_[0-9A-Za-z]{44}_[0-9A-Za-z]{6}")


def page(cast: Cast, team_id: str | None = None) -> str:
    return f"/teams/{team_id or cast.team_id}/api-keys"


def create(cast: Cast, person: Person, name: str = "Production backend", **more: Any) -> TestResponse:
    return person.client.post(page(cast), data={"name": name, "scopes": ["usage:write", "credits:read"]}, **more)


def secret_of(answer: TestResponse) -> str:
    found = SECRET.findall(answer.get_data(as_text=True))
    assert len(found) == 1
    return str(found[0])


def keys(app: Flask) -> list[ApiKey]:
    with app.app_context():
        return list(db.session.execute(select(ApiKey).order_by(ApiKey.id)).scalars())


def revocation(cast: Cast, app: Flask, team_id: str | None = None) -> str:
    return f"{page(cast, team_id)}/{keys(app)[0].id}/revocation"


def test_the_page_says_what_to_do_when_there_is_no_key(cast: Cast) -> None:
    answer = cast.owner.client.get(page(cast))
    assert answer.status_code == 200
    assert "No keys yet" in answer.get_data(as_text=True)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_s38_the_secret_is_shown_once_and_works(app: Flask, cast: Cast, headers: dict[str, str]) -> None:
    answer = create(cast, cast.owner, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    shown = answer.get_data(as_text=True)
    assert ("<html" in shown) is not bool(headers)
    assert 'id="keys-region"' in shown
    secret = secret_of(answer)
    with app.app_context():
        known = find_key(secret)
    assert known is not None
    assert (known.team_id, known.livemode, known.revoked) == (cast.team_id, False, False)
    assert known.scopes == {"usage:write", "credits:read"}
    listed = cast.owner.client.get(page(cast)).get_data(as_text=True)
    assert "Production backend" in listed
    assert not SECRET.search(listed)


def test_s38_only_a_digest_is_stored(app: Flask, cast: Cast) -> None:
    secret = secret_of(create(cast, cast.owner))
    with app.app_context():
        stored = db.session.execute(text("select api_keys::text from api_keys")).scalar_one()
    key = keys(app)[0]
    assert len(key.digest) == 64
    assert secret.startswith(key.prefix)
    assert secret.endswith(key.last4)
    unknown = secret.removeprefix(key.prefix).partition("_")[0]
    assert unknown not in stored


@pytest.mark.parametrize("name", ["", "   ", "\x00", "x" * 61])
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_a_key_needs_a_name(app: Flask, cast: Cast, name: str, headers: dict[str, str]) -> None:
    answer = create(cast, cast.owner, name, headers=headers)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.get_data(as_text=True)
    assert keys(app) == []


def test_a_name_is_text_and_nothing_else(cast: Cast) -> None:
    create(cast, cast.owner, "<script>alert(1)</script>")
    assert "<script>alert" not in cast.owner.client.get(page(cast)).get_data(as_text=True)


def test_there_is_a_most_of_keys_and_revoking_makes_room(app: Flask, cast: Cast) -> None:
    with app.app_context():
        rows = text(
            "insert into api_keys (id, team_id, created_by_id, name, prefix, last4, digest, scopes, livemode)"
            " select 'key_' || n, :team, :user, 'Key ' || n, 'tp_test_' || n, 'abcd', repeat('0', 64), '{}', false"
            " from generate_series(1, :count) n"
        )
        db.session.execute(rows, {"team": cast.team_id, "user": cast.owner.user_id, "count": LIVE_KEYS_MAX})
        db.session.commit()
    answer = create(cast, cast.owner)
    assert answer.status_code == 422
    assert "Revoke one" in answer.get_data(as_text=True)
    cast.owner.client.post(revocation(cast, app))
    assert create(cast, cast.owner).status_code == 200


def test_revoking_by_form_leads_back_to_the_page(app: Flask, cast: Cast) -> None:
    secret = secret_of(create(cast, cast.owner))
    answer = cast.admin.client.post(revocation(cast, app))
    assert (answer.status_code, answer.location) == (303, page(cast))
    with app.app_context():
        known = find_key(secret)
    assert known is not None
    assert known.revoked
    listed = cast.admin.client.get(page(cast)).get_data(as_text=True)
    assert "Revoked" in listed
    assert "is revoked" in listed


def test_revoking_by_htmx_swaps_the_table_and_toasts(app: Flask, cast: Cast) -> None:
    create(cast, cast.owner)
    answer = cast.owner.client.post(revocation(cast, app), headers=HTMX).get_data(as_text=True)
    assert "<html" not in answer
    assert 'id="keys-table"' in answer
    assert 'id="toasts"' in answer
    assert "is revoked" in answer


def test_revoking_again_keeps_the_first_moment(app: Flask, cast: Cast) -> None:
    create(cast, cast.owner)
    moments = []
    for _ in range(2):
        assert cast.owner.client.post(revocation(cast, app)).status_code == 303
        moments.append(keys(app)[0].revoked_at)
    assert moments[0] == moments[1]


ROLES = {"owner": (200, 200, 303), "admin": (200, 200, 303), "billing": (403, 403, 403), "member": (200, 403, 403)}


@pytest.mark.parametrize(("role", "expected"), ROLES.items())
def test_what_each_role_may(app: Flask, cast: Cast, role: str, expected: tuple[int, int, int]) -> None:
    create(cast, cast.owner)
    client = cast.by_role()[role].client
    address = revocation(cast, app)
    found = client.get(page(cast)), create(cast, cast.by_role()[role], "Mine"), client.post(address)
    assert tuple(answer.status_code for answer in found) == expected


def test_who_may_only_look_sees_no_form(cast: Cast) -> None:
    create(cast, cast.owner)
    shown = cast.member.client.get(page(cast)).get_data(as_text=True)
    assert "Production backend" in shown
    assert 'name="name"' not in shown
    assert "Revoke the key" not in shown


def test_outsiders_find_nothing_and_strangers_must_sign_in(app: Flask, cast: Cast) -> None:
    create(cast, cast.owner)
    address = revocation(cast, app)
    for client, status in ((cast.outsider.client, 404), (cast.anonymous, 302)):
        found = client.get(page(cast)), client.post(page(cast), data={"name": "Mine"}), client.post(address)
        assert {answer.status_code for answer in found} == {status}
    assert [key.revoked_at for key in keys(app)] == [None]


def test_another_teams_key_does_not_exist_in_ours(app: Flask, cast: Cast) -> None:
    create(cast, cast.owner)
    theirs = revocation(cast, app, cast.other_team_id)
    unknown = f"{page(cast, cast.other_team_id)}/key_unknown/revocation"
    assert cast.outsider.client.post(theirs).status_code == 404
    assert cast.outsider.client.post(unknown).status_code == 404
    assert keys(app)[0].revoked_at is None


def test_a_key_may_do_what_was_ticked_and_no_more(app: Flask, cast: Cast) -> None:
    data = {"name": "Reports", "scopes": ["usage:read", "billing:read"], "lasts": "90"}
    secret = secret_of(cast.owner.client.post(page(cast), data=data))
    with app.app_context():
        known = find_key(secret)
    assert known is not None
    assert known.scopes == {"usage:read", "billing:read"}
    key = keys(app)[0]
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == timedelta(days=90)
    shown = cast.owner.client.get(page(cast)).get_data(as_text=True)
    assert "Read the plan and invoices, read usage" in shown
    assert "ends <time" in shown


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"scopes": ["usage:read", "*"]},
        {"scopes": ["usage:read"], "lasts": "1"},
    ],
)
def test_what_a_key_may_do_must_be_chosen_from_what_there_is(app: Flask, cast: Cast, data: dict[str, Any]) -> None:
    answer = cast.owner.client.post(page(cast), data={"name": "Backend"} | data)
    assert answer.status_code == 422
    assert keys(app) == []


def test_the_form_offers_what_a_metering_backend_needs(cast: Cast) -> None:
    shown = cast.owner.client.get(page(cast)).get_data(as_text=True)
    assert "required" not in shown[shown.index("tp-checks") : shown.index("</fieldset>")]
    boxes = {
        box.group(1): "checked" in box.group(0)
        for box in re.finditer(r'<input[^>]*value="([a-z]+:[a-z]+)"[^>]*>', shown)
    }
    assert boxes.keys() == {scope.value for scope in Scope}
    assert {scope for scope, ticked in boxes.items() if not ticked} == {"checkout:write", "portal:write"}


def test_an_ended_key_makes_room_and_says_so(app: Flask, cast: Cast) -> None:
    cast.owner.client.post(page(cast), data={"name": "Short", "scopes": ["usage:read"], "lasts": "30"})
    with app.app_context(), unit_of_work():
        clock.advance(timedelta(days=31))
    assert "Expired" in cast.owner.client.get(page(cast)).get_data(as_text=True)
