"""Signing up: a user and a team of their own, made in the same unit of work."""

from __future__ import annotations

from portal.accounts.models import Membership, Team, User
from portal.core.authz import Role
from portal.core.database import db

TEAM_NAME_MAX = 80


def make_team(owner: User, name: str, currency: str = "usd") -> Team:
    """A team with `owner` as its owner; a blank name becomes one made from the person's."""
    cleaned = " ".join(name.split())[:TEAM_NAME_MAX] or f"{owner.display_name}'s team"
    team = Team(name=cleaned, billing_email=owner.email, currency=currency)
    db.session.add(team)
    db.session.add(Membership(team=team, user=owner, team_id=team.id, user_id=owner.id, role=Role.OWNER))
    return team
