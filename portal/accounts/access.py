"""Getting from a request to a team: the membership decides, and a team that is not yours does not exist."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import abort, g
from flask_security import auth_required, current_user
from sqlalchemy import select

from portal.accounts.models import Membership, Team, User
from portal.core.authz import Action, may
from portal.core.database import db
from portal.core.reader import Reader

View = TypeVar("View", bound=Callable[..., Any])


def team_page(action: Action) -> Callable[[View], View]:
    """Guard a route with `<team_id>`: sign-in first, 404 for outsiders, 403 for a role without the permission.

    The view finds the team and membership by `current_team()` and `current_membership()`.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(team_id: str, **values: Any) -> Any:
            membership = find_membership(signed_in_user(), team_id)
            if membership is None:
                abort(404)
            if not may(membership.role, action):
                abort(403)
            g.membership = membership
            g.time_zone = membership.team.time_zone
            return view(**values)

        guarded.team_action = action  # type: ignore[attr-defined]  # read by the test that walks the URL map
        return cast(View, auth_required("session")(guarded))

    return decorate


def signed_in_user() -> User:
    return cast(User, current_user._get_current_object())  # noqa: SLF001  how werkzeug hands out what a proxy stands for


def find_membership(user: User, team_id: str) -> Membership | None:
    return db.session.execute(
        select(Membership).where(Membership.team_id == team_id, Membership.user_id == user.id)
    ).scalar_one_or_none()


def memberships_of(user: User) -> list[Membership]:
    """The person's teams, oldest membership first."""
    query = select(Membership).where(Membership.user_id == user.id).order_by(Membership.created_at, Membership.id)
    return list(db.session.execute(query).scalars())


def current_membership() -> Membership:
    return cast(Membership, g.membership)


def current_team() -> Team:
    return current_membership().team


def readers_zone() -> str:
    """The zone in which a team's page shows its times: the reader's own, else the team's."""
    person: Reader = g.get("person") or Reader()
    return person.time_zone or current_team().time_zone
