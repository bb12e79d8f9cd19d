"""The welcome: once, when an address is confirmed, as a mail and as the first entry of the inbox."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core.database import db
from portal.notifications import messages
from tests.cast import PASSWORD, Cast
from tests.seats import on_plan
from tests.web.accounts.doors import confirm_address
from tests.web.notifications.news import entries_of, mailed, payloads

FORM = {"email": "new.person@example.com", "password": PASSWORD, "team_name": "Tide Works", "name": "New Person"}


def test_whoever_confirms_an_address_is_welcomed_once(client: FlaskClient) -> None:
    client.post("/signup", data=FORM)
    assert mailed("welcome") == []
    for _ in range(2):
        confirm_address(client)
    assert mailed("welcome") == ["new.person@example.com"]
    user = db.session.execute(select(User)).scalar_one()
    [entry] = entries_of(user.id)
    assert (entry.kind, entry.severity, entry.link) == ("welcome", "success", "/teams")
    mail = payloads()[-1]
    assert "Ask your colleagues into the team" in mail["html"]
    assert "New Person" in mail["text"]
    assert mail["unsubscribe"] is None


def test_whoever_only_moves_to_another_address_is_not(cast: Cast) -> None:
    cast.owner.client.post("/account/email", data={"email": "moved@example.com"})
    link = re.search(r"https?://[^/]+(/account/email/\S+)", payloads()[0]["text"])
    assert link is not None
    cast.owner.client.post(link.group(1))
    assert mailed("welcome") == []
    assert mailed("email_changed_notice") == ["moved@example.com", "owner@example.com"]
    kinds = [(entry.kind, entry.title) for entry in entries_of(cast.owner.user_id)]
    assert [kind for kind, _ in kinds] == ["security", "security"], "the warning, and that it has happened"


@pytest.mark.parametrize("team_link", ["", "http://localhost/teams/team_1/members"])
def test_somebody_with_no_team_yet_is_led_to_one(app: Flask, team_link: str) -> None:
    mail = messages.welcome("a@example.com", person="A", team_link=team_link, link="http://localhost/teams")
    for part in (mail.html, mail.text, mail.words):
        assert ("invited" in part) is (not team_link)


def test_who_is_invited_finds_it_in_the_inbox_too_and_the_mailed_token_only_in_the_mail(cast: Cast) -> None:
    on_plan(cast.team_id, extra_seats=1_000)
    for email in (cast.outsider.email, "nobody@example.com"):
        answer = cast.owner.client.post(f"/teams/{cast.team_id}/invitations", data={"email": email, "role": "member"})
        assert answer.status_code == 303
    assert mailed("invitation") == ["nobody@example.com", cast.outsider.email]
    [entry] = entries_of(cast.outsider.user_id)
    assert entry.link == "/teams"
    assert "invites you to Harbor Analytics" in entry.title
    assert "/invitations/" not in entry.words
