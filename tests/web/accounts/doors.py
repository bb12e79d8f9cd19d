"""Going through the front door: people with passwords, and browsers that sign in."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, current_app
from flask.testing import FlaskClient
from flask_security import hash_password
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import AuditEntry, Team, User
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications.models import OutboxItem
from tests.cast import PASSWORD, make_team_of, make_user

HOME = "/account/security"


def make_person(email: str = "robin@example.com", password: str = PASSWORD, **values: Any) -> tuple[User, Team]:
    """A confirmed person with a password, and their team."""
    with unit_of_work():
        user = make_user(email, name="Robin Field", **values)
        user.password = hash_password(current_app.extensions["security"].password_util.normalize(password))
        team = make_team_of(user)
    return user, team


def sign_in(
    client: FlaskClient, email: str = "robin@example.com", password: str = PASSWORD, **more: Any
) -> TestResponse:
    """Send the sign-in form. `more`: further fields, or arguments of the request (headers, environ_base)."""
    fields = {name: more.pop(name) for name in ("remember", "next") if name in more}
    return client.post("/login", data={"email": email, "password": password, **fields}, **more)


def confirmation_link() -> str:
    """Where the newest mail that confirms an address leads."""
    db.session.rollback()
    found = re.search(r"https?://[^/]+(/confirm/\S+)", mails("confirm_email")[-1].payload["text"])
    assert found is not None
    return found.group(1)


def confirm_address(client: FlaskClient, password: str = PASSWORD) -> TestResponse:
    """Open the newest mail's link and give the password that was chosen at sign-up."""
    link = confirmation_link()
    client.get(link)
    return client.post(link, data={"password": password})


def browser_of(app: Flask, email: str = "robin@example.com", **more: Any) -> FlaskClient:
    """A browser in which the person has just signed in."""
    client = app.test_client()
    assert sign_in(client, email, **more).status_code == 302
    return client


def is_in(client: FlaskClient) -> bool:
    """Whether the browser gets to see a private page, or is sent to the door."""
    answer = client.get("/teams")
    assert answer.status_code in (200, 302)
    return not (answer.status_code == 302 and answer.location.startswith("/login"))


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("turnpike")
    assert cookie is not None
    return str(cookie.value)


def with_cookie(app: Flask, value: str) -> FlaskClient:
    client = app.test_client()
    client.set_cookie("turnpike", value)
    return client


def acts() -> list[str]:
    """What the audit trail says was done, in order."""
    return list(db.session.execute(select(AuditEntry.action).order_by(AuditEntry.id)).scalars())


def mails(name: str | None = None) -> list[OutboxItem]:
    found = db.session.execute(select(OutboxItem).order_by(OutboxItem.id)).scalars()
    return [mail for mail in found if name is None or mail.payload["message"] == name]
