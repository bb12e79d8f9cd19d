"""Signing up, confirming, signing in, resetting: what each answers and saves, and that the mails are the outbox's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from portal.accounts.models import Membership, Team, User
from portal.core.database import db
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from tests.cast import PASSWORD, Cast
from tests.web.accounts.doors import confirm_address

FORM = {"email": "New.Person@example.com", "password": PASSWORD, "team_name": "  Tide   Works ", "name": "New Person"}


def sign_up(client: FlaskClient, **changes: Any) -> Any:
    return client.post("/signup", data={**FORM, **changes})


def mails() -> list[OutboxItem]:
    return list(db.session.execute(select(OutboxItem).order_by(OutboxItem.id)).scalars())


def link_in(mail: OutboxItem) -> str:
    found = re.search(r"https?://[^/]+(/\S+)", mail.payload["text"])
    assert found is not None
    return found.group(1)


def test_a_new_person_gets_a_team_a_mail_and_after_confirming_the_free_credits(client: FlaskClient) -> None:
    answer = sign_up(client)
    assert (answer.status_code, answer.location) == (302, "/signup/check-mail")
    user = db.session.execute(select(User)).scalar_one()
    membership = db.session.execute(select(Membership)).scalar_one()
    team = db.session.execute(select(Team)).scalar_one()
    assert (user.email, user.confirmed_at, membership.role) == ("New.Person@example.com", None, "owner")
    assert (team.name, team.billing_email) == ("Tide Works", user.email)
    assert str(user.password).startswith("$argon2id$")
    assert balance(team.id).available == 0
    (mail,) = mails()
    assert (mail.payload["to"], mail.state) == (user.email, "pending")
    db.session.remove()

    assert client.post("/login", data={"email": FORM["email"], "password": PASSWORD}).status_code == 200

    assert confirm_address(client).status_code == 302
    assert balance(team.id).available == 100
    answer = client.post("/login", data={"email": "new.person@EXAMPLE.com", "password": PASSWORD})
    assert answer.status_code == 302
    landed = client.get("/teams", follow_redirects=True)
    assert landed.request.path == f"/teams/{team.id}/billing"
    assert "Tide Works" in landed.get_data(as_text=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "not an address"},
        {"email": ""},
        {"password": "short"},
        {"password": ""},
        {"team_name": ""},
        {"team_name": "   "},
        {"team_name": "x" * 200},
    ],
)
def test_a_field_that_cannot_be_used_is_named_and_nothing_is_saved(
    client: FlaskClient, changes: dict[str, str]
) -> None:
    answer = sign_up(client, **changes)
    assert answer.status_code == 200
    assert "aria-invalid" in answer.get_data(as_text=True)
    assert db.session.execute(select(func.count()).select_from(User)).scalar() == 0
    assert mails() == []


def test_a_known_address_answers_the_same_and_writes_to_its_owner(client: FlaskClient, cast: Cast) -> None:
    fresh = sign_up(client)
    known = sign_up(client, email=cast.owner.email)
    assert (fresh.status_code, fresh.location) == (known.status_code, known.location)
    assert db.session.execute(select(func.count()).select_from(User)).scalar() == 6
    assert [mail.payload["message"] for mail in mails()] == ["confirm_email", "already_registered"]


def test_fields_that_are_not_in_the_form_are_not_taken(client: FlaskClient) -> None:
    sign_up(client, is_staff="1", confirmed_at="2026-01-01", active="0", role="owner", id="user_x", roles="admin")
    user = db.session.execute(select(User)).scalar_one()
    assert (user.is_staff, user.confirmed_at, user.active) == (False, None, True)
    assert user.id != "user_x"


def test_a_forgotten_password_is_reset_once_by_the_mailed_link(client: FlaskClient) -> None:
    sign_up(client)
    confirm_address(client)
    db.session.remove()
    known = client.post("/reset", data={"email": FORM["email"]})
    unknown = client.post("/reset", data={"email": "nobody@example.com"})
    assert known.status_code == unknown.status_code
    reset = mails()[-1]
    assert reset.payload["message"] == "reset_password"
    link = link_in(reset)
    db.session.remove()
    new = {"password": "another long passphrase", "password_confirm": "another long passphrase"}
    assert client.post(link, data=new).status_code == 302
    assert client.post("/login", data={"email": FORM["email"], "password": PASSWORD}).status_code == 200
    fresh = client.application.test_client()
    assert fresh.post("/login", data={"email": FORM["email"], "password": new["password"]}).status_code == 302
    assert fresh.application.test_client().post(link, data=new).status_code in (302, 200)
    again = fresh.application.test_client().post("/login", data={"email": FORM["email"], "password": new["password"]})
    assert again.status_code == 302


def test_signing_out_ends_the_session_and_needs_a_form(cast: Cast) -> None:
    page = f"/teams/{cast.team_id}/billing"
    assert cast.owner.client.get("/logout").status_code == 405
    assert cast.owner.client.get(page).status_code == 200
    assert cast.owner.client.post("/logout").status_code == 302
    assert cast.owner.client.get(page).status_code == 302


def test_links_in_mails_come_from_a_host_we_trust(client: FlaskClient) -> None:
    assert client.post("/signup", data=FORM, headers={"Host": "evil.example"}).status_code == 400
    assert mails() == []


@pytest.mark.parametrize("path", ["/login", "/signup", "/reset", "/appearance", "/logout"])
def test_forms_without_their_token_are_refused(app: Flask, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", True)
    assert app.test_client().post(path, data=FORM).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_from_another_site_are_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/signup", data=FORM, headers=headers).status_code == 403


def test_a_form_from_a_page_without_a_referrer_is_taken(client: FlaskClient) -> None:
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/signup", data=FORM, headers=headers).status_code == 302


@pytest.mark.parametrize("host", ["127.0.0.1:6666", "localhost:80", "localhost"])
def test_links_in_mails_lead_to_the_configured_address_whatever_the_request_says(
    app: Flask, cast: Cast, host: str
) -> None:
    base_url = app.config["SETTINGS"].base_url
    headers = {"Host": host}
    sign_up(cast.anonymous)
    cast.anonymous.post("/signup", data=FORM, headers=headers)
    cast.anonymous.post("/reset", data={"email": cast.owner.email}, headers=headers)
    sent = mails()
    assert {mail.payload["message"] for mail in sent} == {"confirm_email", "already_registered", "reset_password"}
    for mail in sent:
        origins = set(re.findall(r"https?://[^/\s\"']+", mail.payload["text"] + mail.payload["html"]))
        assert origins == {base_url}, mail.payload["message"]


def test_what_went_wrong_in_the_database_is_logged_without_what_people_typed(app: Flask) -> None:
    with pytest.raises(DBAPIError) as failed:
        db.session.execute(text("select 1 / 0 where :secret <> ''"), {"secret": "a-secret-of-mine"})
    assert "a-secret-of-mine" not in str(failed.value)
