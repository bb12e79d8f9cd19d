"""People and teams made behind the pages, for the stories that begin after signing up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask_security import hash_password
from sqlalchemy import select

from portal.accounts.models import Membership, Team, User
from portal.accounts.registration import make_team
from portal.catalog.queries import free_plan
from portal.core import clock
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.free_plan import grant_free_period
from tests.browser.running import RunningStack
from tests.cast import make_user, signed_in

DEMO_TEAM = "Harbor Analytics"


@dataclass(frozen=True)
class Person:
    """Somebody whose browser is signed in once it has `cookie`; `team_id` is a team they are in."""

    email: str
    team_id: str
    cookie: Any = field(compare=False)


@dataclass(frozen=True)
class Household:
    """The people of the demo data."""

    owner: Person
    member: Person
    outsider: Person

    @property
    def team_id(self) -> str:
        return self.owner.team_id


def gather(stack: RunningStack) -> Household:
    """Let the demo data's people in without the form: a password takes long to check, and one test does so."""
    with stack.portal.app_context():
        users = {
            name: db.session.execute(select(User).where(User.email == f"{name}@example.com")).scalar_one()
            for name in ("owner", "member", "outsider")
        }
        team_id = db.session.execute(select(Team.id).where(Team.name == DEMO_TEAM)).scalar_one()
        people = {name: _person(stack, user, team_id) for name, user in users.items()}
        db.session.remove()
    return Household(**people)


@contextmanager
def days_ago(days: int) -> Iterator[None]:
    """What is done here, within one unit of work, is done at a time that is past. Nobody else sees the clock move."""
    clock.advance(-timedelta(days=days))
    yield
    clock.advance(timedelta(days=days))


def newcomer(
    stack: RunningStack, team_name: str, *, teams: int = 1, password: str | None = None, days: int = 0
) -> Person:
    """A confirmed user who owns a new team on the free plan, as signing up left it `days` ago; or several teams.

    The address is made from the team's name, which therefore is given once in a run.
    """
    email = "".join(letter for letter in team_name.lower() if letter.isalnum()) + "@example.com"
    with stack.portal.app_context():
        with unit_of_work(), days_ago(days):
            user = make_user(email, name="Robin Field")
            user.password = hash_password(password) if password else None
            made = [_team(user, team_name if number == 0 else f"{team_name} {number + 1}") for number in range(teams)]
        person = _person(stack, user, made[0].id)
        db.session.remove()
    return person


def colleague(stack: RunningStack, team_id: str, role: Role) -> Person:
    """A confirmed user who joins a team in a role."""
    with stack.portal.app_context():
        with unit_of_work() as session:
            user = make_user()
            session.add(Membership(user_id=user.id, team_id=team_id, role=role))
        person = _person(stack, user, team_id)
        db.session.remove()
    return person


def _team(owner: User, name: str) -> Team:
    team = make_team(owner, name)
    db.session.flush()
    plan = free_plan()
    grant_free_period(team, (plan.credits_monthly if plan else 0) or 0)
    return team


def _person(stack: RunningStack, user: User, team_id: str) -> Person:
    name = stack.portal.config["SESSION_COOKIE_NAME"]
    cookie = signed_in(stack.portal, user, always_fresh=True).get_cookie(name)
    assert cookie is not None
    return Person(user.email, team_id, {"name": name, "value": cookie.value, "url": stack.base_url})
