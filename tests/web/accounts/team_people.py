"""Looking into a team: who is in it, who was asked, and the link that a mail brought."""

from __future__ import annotations

import re

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import AuditEntry, Invitation, Membership, User
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications.models import OutboxItem
from tests.cast import Cast, Person, make_user, signed_in


def roles(team_id: str) -> dict[str, str]:
    """The role of each member by address."""
    db.session.rollback()
    query = select(User.email, Membership.role).join(User, User.id == Membership.user_id)
    return dict(db.session.execute(query.where(Membership.team_id == team_id)).all())


def membership_id(team_id: str, person: Person) -> str:
    query = select(Membership.id).where(Membership.team_id == team_id, Membership.user_id == person.user_id)
    return db.session.execute(query).scalar_one()


def someone(app: Flask, email: str) -> Person:
    """A confirmed person of no team, signed in."""
    with unit_of_work():
        user = make_user(email)
    return Person(user.id, email, signed_in(app, user))


def colleague(app: Flask, team_id: str, role: Role, email: str) -> Person:
    person = someone(app, email)
    with unit_of_work() as session:
        session.add(Membership(team_id=team_id, user_id=person.user_id, role=role))
    db.session.remove()
    return person


def invite(cast: Cast, email: str, role: str = "member", client: FlaskClient | None = None) -> str:
    """Invite by the form and return the path of the mailed link."""
    answer = (client or cast.owner.client).post(
        f"/teams/{cast.team_id}/invitations", data={"email": email, "role": role}
    )
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return newest_link()


def newest_link() -> str:
    db.session.rollback()
    query = select(OutboxItem).where(OutboxItem.payload["message"].as_string() == "invitation")
    mail = db.session.execute(query.order_by(OutboxItem.id.desc()).limit(1)).scalar_one()
    found = re.search(r"https?://[^/]+(/invitations/\S+)", mail.payload["text"])
    assert found is not None
    return found.group(1)


def invitation_to(email: str) -> Invitation:
    db.session.rollback()
    query = select(Invitation).where(Invitation.email == email).order_by(Invitation.id.desc()).limit(1)
    return db.session.execute(query.execution_options(populate_existing=True)).scalar_one()


def acts_in(team_id: str) -> list[tuple[str, str | None, dict[str, object]]]:
    """What the audit trail says was done in the team, by whom, with which detail."""
    db.session.rollback()
    query = select(AuditEntry).where(AuditEntry.team_id == team_id).order_by(AuditEntry.id)
    return [(entry.action, entry.actor_id, entry.detail) for entry in db.session.execute(query).scalars()]
