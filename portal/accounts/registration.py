"""Teams: the one that is made along with a user at sign-up, and further ones."""

from __future__ import annotations

from sqlalchemy import func, select

from portal.accounts import audit
from portal.accounts.models import Membership, Team, User
from portal.core.authz import Role
from portal.core.database import db

TEAM_NAME_MAX = 80
# Every team gets the free plan's credits, so one person does not make them without end.
OWNED_TEAMS_MAX = 10


class TooManyTeams(Exception):
    """The person owns `OWNED_TEAMS_MAX` teams already."""

    def __init__(self) -> None:
        super().__init__(f"You own {OWNED_TEAMS_MAX} teams, which is the most one person can have.")


def make_team(owner: User, name: str, currency: str = "usd") -> Team:
    """A team with `owner` as its owner; a blank name becomes one made from the person's."""
    cleaned = " ".join(name.split())[:TEAM_NAME_MAX] or f"{owner.display_name}'s team"
    team = Team(name=cleaned, billing_email=owner.email, currency=currency)
    db.session.add(team)
    db.session.add(Membership(team=team, user=owner, team_id=team.id, user_id=owner.id, role=Role.OWNER))
    return team


def make_further_team(owner: User, name: str) -> Team:
    """A team beside those the person has. The person's row is locked, so that two are not both the last one.

    Raises `TooManyTeams`.
    """
    db.session.execute(select(User.id).where(User.id == owner.id).with_for_update(key_share=True))
    owned = select(func.count()).where(Membership.user_id == owner.id, Membership.role == Role.OWNER.value)
    if db.session.execute(owned).scalar_one() >= OWNED_TEAMS_MAX:
        raise TooManyTeams
    team = make_team(owner, name)
    db.session.flush()
    audit.record(audit.by_user(owner.id), "team.created", team_id=team.id, name=team.name)
    return team


def change_team(team: Team, actor: User, **values: str) -> list[str]:
    """Set what differs and record it, with what it was before; the names of what was changed."""
    changed = {field: value for field, value in values.items() if getattr(team, field) != value}
    for field, value in changed.items():
        before = getattr(team, field)
        setattr(team, field, value)
        audit.record(audit.by_user(actor.id), f"team.{field}_changed", team_id=team.id, before=before, after=value)
    return list(changed)
