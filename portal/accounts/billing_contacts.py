"""Whom mails about money go to."""

from __future__ import annotations

from sqlalchemy import select

from portal.accounts.models import Membership, Team, User
from portal.core.authz import Role
from portal.core.database import db


def billing_contacts(team_id: str) -> dict[str, str]:
    """The team's billing address and its members in the role billing: addresses by what stands for them in keys."""
    address = db.session.execute(select(Team.billing_email).where(Team.id == team_id)).scalar_one()
    query = select(Membership.id, User.email).join(User, User.id == Membership.user_id)
    billing = (Membership.team_id == team_id) & (Membership.role == Role.BILLING) & User.active.is_(True)
    found = {team_id: address} | {row.id: row.email for row in db.session.execute(query.where(billing))}
    unique = {email.lower(): key for key, email in reversed(found.items())}
    return {key: found[key] for key in found if unique[found[key].lower()] == key}
