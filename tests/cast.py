"""The same people in every test: an owner, an admin, a billing contact and a member of one team, and an outsider."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app
from flask.testing import FlaskClient

from portal.accounts import sessions
from portal.accounts.models import Membership, Team, User, UserSession
from portal.accounts.registration import make_team
from portal.accounts.sign_in import TOKEN
from portal.core import clock
from portal.core.authz import Role
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Person:
    user_id: str
    email: str
    client: FlaskClient


@dataclass(frozen=True)
class Cast:
    team_id: str
    other_team_id: str
    owner: Person
    admin: Person
    billing: Person
    member: Person
    outsider: Person
    anonymous: FlaskClient

    def by_role(self) -> dict[str, Person]:
        return {"owner": self.owner, "admin": self.admin, "billing": self.billing, "member": self.member}


def make_user(email: str | None = None, **values: Any) -> User:
    """A confirmed user; no password, since tests sign in by session (hashing one takes most of a test's time)."""
    email = email or f"{new_id('p').lower().replace('_', '')}@example.com"
    if "confirmed_at" not in values:
        values["confirmed_at"] = clock.now()
    return current_app.extensions["security"].datastore.create_user(email=email, password=None, **values)


def signed_in(app: Flask, user: User, *, always_fresh: bool = False) -> FlaskClient:
    """A browser with a session of its own, which lasts however far a story moves the clock.

    `always_fresh`: as if the person gave the password again whenever they are asked.
    """
    with unit_of_work():
        now = clock.now()
        token = _begin_session(user, now, now + LASTING if always_fresh else now)
    return _browser(app, user, token)


LASTING = timedelta(days=36_500)  # one test after the other, the clock goes on for decades


def _begin_session(user: User, now: datetime, proven_at: datetime) -> str:
    """The row that `sessions.begin` makes, for longer; written along with what else the unit saves."""
    token = secrets.token_urlsafe(sessions.TOKEN_BYTES)
    session = UserSession(
        user_id=user.id,
        digest=sessions._digest(token),
        kept=True,
        expires_at=now + LASTING,
        proven_at=proven_at,
        ip="127.0.0.1",
        user_agent="tests",
    )
    db.session.add(session)
    return token


def _browser(app: Flask, user: User, token: str) -> FlaskClient:
    client = app.test_client()
    with client.session_transaction() as session:
        session.update(_of_session(user, token))
    return client


def _of_session(user: User, token: str) -> dict[str, Any]:
    return {"_user_id": user.fs_uniquifier, "_fresh": True, TOKEN: token}


def session_cookie(app: Flask, user: User) -> str:
    """The value of the cookie of a new session that lasts, for who asks a server over the network."""
    with unit_of_work():
        now = clock.now()
        token = _begin_session(user, now, now)
    signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    return str(signer.dumps(_of_session(user, token)))


def make_team_of(owner: User, name: str = "Harbor Analytics") -> Team:
    team = make_team(owner, name)
    db.session.flush()
    return team


def gather(app: Flask) -> Cast:
    """Make the cast, in one unit of work."""
    with unit_of_work():
        now = clock.now()
        names = ("owner", "admin", "billing", "member", "outsider")
        users = {name: make_user(f"{name}@example.com", confirmed_at=now) for name in names}
        team = make_team_of(users["owner"])
        for role in (Role.ADMIN, Role.BILLING, Role.MEMBER):
            user = users[role.value]
            db.session.add(Membership(team=team, user=user, team_id=team.id, user_id=user.id, role=role))
        other = make_team_of(users["outsider"], "Quayside Labs")
        tokens = {name: _begin_session(user, now, now) for name, user in users.items()}
    people = {name: Person(user.id, user.email, _browser(app, user, tokens[name])) for name, user in users.items()}
    db.session.remove()
    return Cast(team_id=team.id, other_team_id=other.id, anonymous=app.test_client(), **people)
