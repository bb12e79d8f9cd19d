"""The people of a team: who changes and removes whom, leaving, handing over, and that a team keeps an owner."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from portal.accounts import billing_email
from portal.accounts.api_keys import create_key, live_keys_by
from portal.accounts.memberships import Overtaken
from portal.accounts.models import Team, User
from portal.accounts.role_table import ACTION_WORDS
from portal.core.authz import ABOVE, PERMISSIONS, Action, Role, stands_above
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast, Person
from tests.seats import PRO_SEATS, on_plan
from tests.web.accounts.team_people import acts_in, colleague, invitation_to, invite, membership_id, roles

OF_ALL = {"owner@example.com": "owner", "admin@example.com": "admin", "billing@example.com": "billing",
          "member@example.com": "member"}  # fmt: skip


def act(cast: Cast, actor: Person, on: Person, what: str, **form: str) -> Any:
    address = f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, on)}/{what}"
    return actor.client.post(address, data=form)


def page(cast: Cast, client: FlaskClient) -> str:
    return client.get(f"/teams/{cast.team_id}/members").get_data(as_text=True)


# ---------------------------------------------------------------- who stands above whom


def test_those_who_manage_members_are_those_who_stand_above_somebody() -> None:
    for role in Role:
        assert bool(ABOVE[role]) == (Action.MANAGE_MEMBERS in PERMISSIONS[role]), role
        assert role is Role.OWNER or role not in ABOVE[role], "equals do not act on each other"
        for below in ABOVE[role]:
            assert PERMISSIONS[below] <= PERMISSIONS[role], f"{role} gives {below} more than it has"


@pytest.mark.parametrize("actor_role", ["owner", "admin", "billing", "member"])
@pytest.mark.parametrize("target_role", list(Role))
def test_s8_s9_only_those_above_change_and_remove(app: Flask, cast: Cast, actor_role: str, target_role: Role) -> None:
    """Every pair of roles, and every role that could be given; what is refused changes nothing."""
    actor = cast.by_role()[actor_role]
    target = colleague(app, cast.team_id, target_role, "target@example.com")
    for given in Role:
        before = roles(cast.team_id)
        answer = act(cast, actor, target, "role", role=given.value)
        allowed = stands_above(actor_role, before[target.email]) and stands_above(actor_role, given)
        assert answer.status_code == (303 if allowed else 403), (given, answer.status_code)
        assert roles(cast.team_id) == (before | {target.email: given.value} if allowed else before)
    now = roles(cast.team_id)[target.email]
    answer = act(cast, actor, target, "removal")
    assert (answer.status_code == 303) is stands_above(actor_role, now)
    assert (target.email in roles(cast.team_id)) is not stands_above(actor_role, now)


@pytest.mark.parametrize("role", ["", "staff", "OWNER", "owner'--", "true"])
def test_a_role_that_there_is_not_is_refused(cast: Cast, role: str) -> None:
    assert act(cast, cast.owner, cast.member, "role", role=role).status_code == 422
    assert roles(cast.team_id) == OF_ALL


def test_s9_nobody_raises_themselves(cast: Cast) -> None:
    for person in (cast.admin, cast.billing, cast.member):
        assert act(cast, person, person, "role", role="owner").status_code == 403
        assert act(cast, person, person, "ownership").status_code == 403
    assert roles(cast.team_id) == OF_ALL


def test_what_was_done_is_recorded_without_an_address(cast: Cast) -> None:
    act(cast, cast.owner, cast.member, "role", role="billing")
    act(cast, cast.owner, cast.member, "role", role="billing")
    act(cast, cast.admin, cast.billing, "removal")
    assert acts_in(cast.team_id) == [
        ("member.role_changed", cast.owner.user_id, {"before": "member", "after": "billing"}),
        ("member.removed", cast.admin.user_id, {"role": "billing"}),
    ]


# ---------------------------------------------------------------- out, at once


def test_s11_a_removed_member_is_out_at_the_next_request(cast: Cast) -> None:
    address = f"/teams/{cast.team_id}/billing"
    assert cast.member.client.get(address).status_code == 200
    assert act(cast, cast.admin, cast.member, "removal").status_code == 303
    assert cast.member.client.get(address).status_code == 404
    assert cast.member.client.get("/teams").status_code == 200, "they are still signed in, in no team"


def test_s11_a_changed_role_holds_from_the_next_request_on(cast: Cast) -> None:
    settings = f"/teams/{cast.team_id}/settings"
    assert cast.admin.client.get(settings).status_code == 200
    act(cast, cast.owner, cast.admin, "role", role="member")
    assert cast.admin.client.get(settings).status_code == 403


@pytest.mark.parametrize("revoking", [True, False])
def test_s11_keys_that_a_removed_member_knows_end_when_that_is_asked(app: Flask, cast: Cast, revoking: bool) -> None:
    with unit_of_work():
        admin = db.session.get(User, cast.admin.user_id)
        assert admin is not None
        key = create_key(cast.team_id, admin, "Backend", livemode=False)
    headers = {"Authorization": f"Bearer {key.secret}"}
    assert app.test_client().get("/api/v1/credits", headers=headers).status_code == 200
    member = f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, cast.admin)}"
    assert "revoke the API key they made" in cast.owner.client.get(member).get_data(as_text=True)
    form = {"keys": "revoke"} if revoking else {}
    assert cast.owner.client.post(f"{member}/removal", data=form).status_code == 303
    assert app.test_client().get("/api/v1/credits", headers=headers).status_code == (401 if revoking else 200)
    assert bool(live_keys_by(cast.team_id, cast.admin.user_id)) is not revoking


@pytest.mark.parametrize(
    ("invited_as", "act_on_admin"), [("member", "removal"), ("member", "billing"), ("billing", "owner")]
)
def test_an_invitation_ends_with_the_right_to_give_it(cast: Cast, invited_as: str, act_on_admin: str) -> None:
    on_plan(cast.team_id)
    link = invite(cast, "friend@example.com", invited_as, cast.admin.client)
    if act_on_admin == "removal":
        act(cast, cast.owner, cast.admin, "removal")
    else:
        act(cast, cast.owner, cast.admin, "role", role=act_on_admin)
    ended = act_on_admin != "owner"
    assert cast.anonymous.get(link).status_code == (410 if ended else 200)
    assert (invitation_to("friend@example.com").revoked_at is not None) is ended


@pytest.mark.parametrize(
    ("act_on_admin", "ended"), [("removal", True), ("member", True), ("billing", False), ("owner", False)]
)
def test_a_billing_email_that_was_asked_for_ends_with_the_right_to_ask_for_it(
    cast: Cast, act_on_admin: str, ended: bool
) -> None:
    with unit_of_work() as session:
        team = session.execute(select(Team).where(Team.id == cast.team_id)).scalar_one()
        token = billing_email.ask(team, cast.admin.user_id, "mine@elsewhere.example")
    if act_on_admin == "removal":
        act(cast, cast.owner, cast.admin, "removal")
    else:
        act(cast, cast.owner, cast.admin, "role", role=act_on_admin)
    assert cast.anonymous.get(f"/billing-email/{token}").status_code == (410 if ended else 200)
    assert cast.anonymous.post(f"/billing-email/{token}").status_code == (410 if ended else 200)


def test_a_billing_email_that_somebody_else_asked_for_stays(cast: Cast) -> None:
    with unit_of_work() as session:
        team = session.execute(select(Team).where(Team.id == cast.team_id)).scalar_one()
        token = billing_email.ask(team, cast.owner.user_id, "bills@elsewhere.example")
    act(cast, cast.owner, cast.admin, "removal")
    assert cast.anonymous.get(f"/billing-email/{token}").status_code == 200


@pytest.mark.parametrize("act_on_admin", ["removal", "role"])
def test_whoever_loses_the_right_at_this_very_moment_asks_for_no_billing_email(cast: Cast, act_on_admin: str) -> None:
    """The guard of the page has let them in already; under the lock of the team they are looked at again."""
    act(cast, cast.owner, cast.admin, act_on_admin, role="member")
    team = db.session.execute(select(Team).where(Team.id == cast.team_id)).scalar_one()
    db.session.rollback()
    with pytest.raises(Overtaken), unit_of_work():
        billing_email.ask(team, cast.admin.user_id, "mine@elsewhere.example")


def test_leaving_is_for_everybody_but_the_last_owner(cast: Cast) -> None:
    for person in (cast.member, cast.billing, cast.admin):
        answer = person.client.post(f"/teams/{cast.team_id}/departure")
        assert (answer.status_code, answer.location) == (303, "/teams")
        assert person.client.get(f"/teams/{cast.team_id}/members").status_code == 404
    assert cast.owner.client.post(f"/teams/{cast.team_id}/departure").status_code == 409
    assert roles(cast.team_id) == {"owner@example.com": "owner"}
    assert [action for action, _, _ in acts_in(cast.team_id)] == ["member.left"] * 3


# ---------------------------------------------------------------- a team keeps an owner


def test_s10_the_last_owner_cannot_be_demoted_removed_or_leave(cast: Cast) -> None:
    for answer in (
        act(cast, cast.owner, cast.owner, "role", role="admin"),
        act(cast, cast.owner, cast.owner, "removal"),
        cast.owner.client.post(f"/teams/{cast.team_id}/departure"),
    ):
        assert answer.status_code == 409
        assert "A team needs an owner" in answer.get_data(as_text=True)
    assert roles(cast.team_id) == OF_ALL
    assert acts_in(cast.team_id) == []
    assert act(cast, cast.owner, cast.owner, "role", role="owner").status_code == 303, "staying one is no harm"


def test_one_of_two_owners_may_go(app: Flask, cast: Cast) -> None:
    act(cast, cast.owner, cast.admin, "role", role="owner")
    assert cast.owner.client.post(f"/teams/{cast.team_id}/departure").status_code == 303
    assert roles(cast.team_id)["admin@example.com"] == "owner"
    assert cast.admin.client.post(f"/teams/{cast.team_id}/departure").status_code == 409


def test_handing_over_makes_one_owner_of_another(cast: Cast) -> None:
    assert act(cast, cast.owner, cast.billing, "ownership").status_code == 303
    assert roles(cast.team_id) == OF_ALL | {"owner@example.com": "admin", "billing@example.com": "owner"}
    assert act(cast, cast.owner, cast.member, "ownership").status_code == 403
    assert [action for action, _, _ in acts_in(cast.team_id)] == ["team.handed_over"]
    assert act(cast, cast.billing, cast.billing, "ownership").status_code == 403, "not to oneself"


@pytest.mark.parametrize(
    "statement",
    ["delete from memberships where role = 'owner'", "update memberships set role = 'admin' where role = 'owner'",
     "update memberships set team_id = :other where role = 'owner' and team_id = :team"],
)  # fmt: skip
def test_s10_the_database_refuses_a_team_without_an_owner(app: Flask, cast: Cast, statement: str) -> None:
    names = {"other": cast.other_team_id, "team": cast.team_id} if ":team" in statement else {}
    with pytest.raises(DBAPIError, match="would have no owner"), unit_of_work() as session:
        session.execute(text(statement), names)
    assert roles(cast.team_id) == OF_ALL


# ---------------------------------------------------------------- the page


def test_the_page_shows_who_is_in_the_team_and_what_the_reader_may_do(cast: Cast) -> None:
    on_plan(cast.team_id)
    for role, person in cast.by_role().items():
        shown = page(cast, person.client)
        for email in OF_ALL:
            assert email in shown
        assert shown.count("/members/mem_") == sum(
            stands_above(role, other) for other in OF_ALL.values() if other != role
        ), role
        assert ("Send invitation" in shown) is (role in ("owner", "admin"))
        assert ("Only owner" in shown) is (role == "owner")
        assert f"4 <small>of {PRO_SEATS} used" in shown


def test_an_admin_is_offered_only_the_roles_below(cast: Cast) -> None:
    on_plan(cast.team_id)
    member = f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, cast.member)}"
    for address in (f"/teams/{cast.team_id}/members", member):
        shown = cast.admin.client.get(address).get_data(as_text=True)
        assert 'value="billing"' in shown
        assert 'value="admin"' not in shown
        assert 'value="owner"' not in shown
    of_owner = f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, cast.owner)}"
    assert "Only owners change this role" in cast.admin.client.get(of_owner).get_data(as_text=True)


def test_the_table_of_roles_knows_every_action() -> None:
    assert set(ACTION_WORDS) == set(Action)
