"""Inviting by mail: for one address, once, for a week, by a form and not by opening a link; and the seats it needs."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts import invitations
from portal.accounts.invitations import KEPT_AFTER_END, LASTS
from portal.accounts.models import Invitation, Membership, Team, User
from portal.billing.seat_limit import seat_limit
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import PASSWORD, Cast
from tests.seats import STARTER_SEATS, on_plan
from tests.web.accounts.doors import confirm_address, mails, make_person, sign_in
from tests.web.accounts.team_people import acts_in, invitation_to, invite, newest_link, roles, someone
from tests.web.test_access import table_contents

NEW = "research@example.com"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def team(cast: Cast) -> Cast:
    """The cast on a plan with seats to give."""
    on_plan(cast.team_id)
    return cast


def send(cast: Cast, email: str = NEW, role: str = "member", **more: Any) -> Any:
    return cast.owner.client.post(f"/teams/{cast.team_id}/invitations", data={"email": email, "role": role}, **more)


def act(cast: Cast, what: str, email: str = NEW, client: FlaskClient | None = None, **more: Any) -> Any:
    address = f"/teams/{cast.team_id}/invitations/{invitation_to(email).id}/{what}"
    return (client or cast.owner.client).post(address, **more)


def later(by: timedelta) -> None:
    with unit_of_work():
        clock.advance(by)


# ---------------------------------------------------------------- from the form to the team


def test_whoever_is_invited_gets_a_mail_and_joins_in_the_role(app: Flask, team: Cast) -> None:
    answer = send(team, "Research@Example.com", "billing")
    assert (answer.status_code, answer.location) == (303, f"/teams/{team.team_id}/members")
    (mail,) = mails("invitation")
    assert mail.payload["to"] == "Research@example.com"
    assert mail.payload["subject"] == "owner invites you to Harbor Analytics"
    assert "in the role billing" in mail.payload["text"]
    link = newest_link()
    assert link in mail.payload["html"]

    guest = someone(app, NEW)
    shown = guest.client.get(link)
    assert shown.status_code == 200
    assert "Join the team" in shown.get_data(as_text=True)
    answer = guest.client.post(link)
    assert (answer.status_code, answer.location) == (303, f"/teams/{team.team_id}/members")
    assert roles(team.team_id)[NEW] == "billing"
    assert "You are in “Harbor Analytics” now" in guest.client.get(answer.location).get_data(as_text=True)
    assert acts_in(team.team_id) == [
        ("member.invited", team.owner.user_id, {"role": "billing"}),
        ("member.joined", guest.user_id, {"role": "billing"}),
    ]


def test_the_token_is_kept_as_a_digest_only(team: Cast) -> None:
    token = invite(team, NEW).rpartition("/")[2]
    assert len(token) >= 43, "256 bits"
    assert invitation_to(NEW).digest == hashlib.sha256(token.encode()).hexdigest()
    told = {name: rows for name, rows in table_contents().items() if token in str(rows)}
    assert set(told) == {"outbox"}, "until the mail is sent, and nowhere else"


def test_by_htmx_the_lists_are_swapped_and_a_mistake_stands_at_its_field(team: Cast) -> None:
    answer = send(team, headers=HTMX)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert 'id="people"' in page
    assert NEW in page
    assert "An invitation is on its way" in page
    assert "<html" not in page
    for email in ("no address", "", "x" * 250 + "@example.com"):
        answer = send(team, email, headers=HTMX)
        assert answer.status_code == 422
        assert "aria-invalid" in answer.get_data(as_text=True)
    assert len(mails("invitation")) == 1


# ---------------------------------------------------------------- what a link is worth


def test_s35_opening_the_link_changes_nothing_however_often(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW)
    guest.client.get("/teams")
    before = table_contents()
    for client in (team.anonymous, guest.client, team.outsider.client):
        for method in ("GET", "HEAD", "GET"):
            assert client.open(link, method=method).status_code == 200
    assert table_contents() == before
    assert guest.client.post(link).status_code == 303


def test_s34_a_link_is_used_once(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW)
    assert guest.client.post(link).status_code == 303
    assert guest.client.post(f"/teams/{team.team_id}/departure").status_code == 303
    for answer in (guest.client.get(link), guest.client.post(link)):
        assert answer.status_code == 410
        assert "This invitation is over" in answer.get_data(as_text=True)
    assert NEW not in roles(team.team_id)


def test_s34_a_link_ends_after_a_week(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW)
    later(LASTS - timedelta(minutes=1))
    assert guest.client.get(link).status_code == 200
    later(timedelta(minutes=2))
    assert guest.client.get(link).status_code == guest.client.post(link).status_code == 410
    assert NEW not in roles(team.team_id)


def test_s34_a_revoked_link_is_over(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW)
    assert act(team, "revocation").status_code == 303
    assert guest.client.get(link).status_code == guest.client.post(link).status_code == 410
    assert "invited" not in guest.client.get("/teams").get_data(as_text=True)
    assert NEW not in roles(team.team_id)


def test_s34_sending_again_makes_a_new_link_and_ends_the_old_one(app: Flask, team: Cast) -> None:
    old, guest = invite(team, NEW), someone(app, NEW)
    later(LASTS - timedelta(hours=1))
    assert act(team, "delivery").status_code == 303
    new = newest_link()
    assert new != old
    assert len(mails("invitation")) == 2
    later(timedelta(hours=2))
    assert guest.client.post(old).status_code == 410
    assert guest.client.post(new).status_code == 303


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "..%2f", "ÿ" * 43])
def test_s34_a_link_that_never_was_is_over(team: Cast, token: str) -> None:
    invite(team, NEW)
    for method in ("GET", "POST"):
        answer = team.outsider.client.open(f"/invitations/{token}", method=method)
        assert answer.status_code in (400, 404, 410)


def test_s34_it_is_for_that_address_only_and_says_so_plainly(app: Flask, team: Cast) -> None:
    link = invite(team, NEW)
    for answer, status in ((team.outsider.client.get(link), 200), (team.outsider.client.post(link), 403)):
        page = answer.get_data(as_text=True)
        assert answer.status_code == status
        assert "You are signed in as outsider@example.com, and this invitation is for research@example.com" in page
        assert "Join the team" not in page
    assert "outsider@example.com" not in roles(team.team_id)
    answer = team.outsider.client.post(f"/logout?next={link}")
    assert (answer.status_code, answer.location) == (302, link), "signing out leads back to the invitation"


def test_s34_the_role_is_the_invitations_whatever_the_form_says(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW.upper())
    more = {"role": "owner", "team_id": team.other_team_id, "email": "x@example.com", "user_id": team.owner.user_id}
    assert guest.client.post(f"{link}?role=admin", data=more).status_code == 303
    assert roles(team.team_id)[guest.email] == "member"
    assert guest.email not in roles(team.other_team_id)


def test_a_stranger_signs_in_and_comes_back(team: Cast) -> None:
    make_person(NEW)
    link = invite(team, NEW)
    page = team.anonymous.get(link).get_data(as_text=True)
    assert f"/login?next={link}" in page
    assert f"/signup?next={link}" in page
    answer = team.anonymous.post(link)
    assert (answer.status_code, answer.location) == (303, f"/login?next={link}")
    assert sign_in(team.anonymous, NEW, next=link).location == link
    assert team.anonymous.post(link).status_code == 303
    assert roles(team.team_id)[NEW] == "member"


def test_an_address_without_an_account_is_led_through_sign_up_and_back(client: FlaskClient, team: Cast) -> None:
    link = invite(team, NEW, "admin")
    form = client.get(f"/signup?next={link}").get_data(as_text=True)
    assert f'value="{NEW}"' in form
    assert "Team name" not in form, "there is a team to go to, and one made on the way would only be in it"
    fields = {"email": NEW, "password": PASSWORD, "next": link}
    refused = client.post("/signup", data=fields | {"email": "other@example.com"})
    assert "The invitation is for research@example.com" in refused.get_data(as_text=True)
    assert client.post("/signup", data=fields).location == "/signup/check-mail"
    user = db.session.execute(select(User).where(User.email == NEW)).scalar_one()
    assert user.confirmed_at is None
    assert db.session.execute(select(func.count()).where(Membership.user_id == user.id)).scalar_one() == 0
    assert client.post(link).location.startswith("/login"), "an account alone proves no address"

    assert confirm_address(client).status_code == 302
    assert sign_in(client, NEW).location == "/teams"
    page = client.get("/teams").get_data(as_text=True)
    assert "You are invited" in page
    assert "Harbor Analytics" in page
    answer = client.post(f"/account/invitations/{invitation_to(NEW).id}/acceptance")
    assert (answer.status_code, answer.location) == (303, f"/teams/{team.team_id}/members")
    assert roles(team.team_id)[NEW] == "admin"


def test_signing_up_by_a_link_that_is_over_makes_a_team_as_ever(client: FlaskClient, team: Cast) -> None:
    link = invite(team, NEW)
    act(team, "revocation")
    fields = {"email": NEW, "password": PASSWORD, "next": link}
    assert "Give your team a name" in client.post("/signup", data=fields).get_data(as_text=True)
    assert client.post("/signup", data=fields | {"team_name": "Own"}).status_code == 302
    assert db.session.execute(select(Team.id).where(Team.name == "Own")).scalar_one()


def test_an_invitation_found_after_signing_in_is_for_its_person_only(app: Flask, team: Cast) -> None:
    invite(team, NEW)
    address = f"/account/invitations/{invitation_to(NEW).id}/acceptance"
    foreign, unknown = (
        team.outsider.client.post(address),
        team.outsider.client.post(address.replace("invite_0", "invite_1")),
    )
    assert foreign.status_code == unknown.status_code == 404
    assert "You are invited" not in team.outsider.client.get("/teams", follow_redirects=True).get_data(as_text=True)
    guest = someone(app, NEW)
    assert "You are invited" in guest.client.get("/teams").get_data(as_text=True)
    later(LASTS)
    assert "You are invited" not in guest.client.get("/teams").get_data(as_text=True)
    assert guest.client.post(address).status_code == 404


# ---------------------------------------------------------------- what an inviter may, and learns


def test_s9_one_invites_below_oneself_and_nobody_as_owner(team: Cast) -> None:
    invites = f"/teams/{team.team_id}/invitations"
    for role in ("admin", "owner"):
        answer = team.admin.client.post(invites, data={"email": NEW, "role": role})
        assert answer.status_code == 403, role
    for person in (team.member, team.billing):
        assert person.client.post(invites, data={"email": NEW, "role": "member"}).status_code == 403
    for role in ("owner", "", "staff"):
        assert send(team, role=role).status_code == 422
    assert mails("invitation") == []
    invite(team, NEW, "admin")
    for what in ("delivery", "revocation"):
        assert act(team, what, client=team.admin.client).status_code == 403, "an admin's invitation is above an admin"
    assert "Revoke" not in team.admin.client.get(f"/teams/{team.team_id}/members").get_data(as_text=True)


def test_s28_an_inviter_does_not_learn_who_has_an_account(app: Flask, team: Cast) -> None:
    """But for those in the team, whom the page shows anyway."""
    pages = []
    for email in (team.outsider.email, "nobody@example.com"):
        answer = send(team, email, headers=HTMX)
        shown = answer.get_data(as_text=True).replace(email, "ADDRESS")
        pages.append(_without_times(shown))
        with unit_of_work():
            invitations.revoke(_owner(team), invitation_to(email).id)
    # Names of the invitations differ, and a form's token from one second to the next.
    of_their_own = ("invite_", "csrf_token")
    known, unknown = (
        {line.strip() for line in page.splitlines() if not any(name in line for name in of_their_own)} for page in pages
    )
    assert known == unknown
    first, second = (mail.payload for mail in mails("invitation"))
    assert first["subject"] == second["subject"]
    assert _without_link(first) == _without_link(second)


def _owner(cast: Cast) -> Membership:
    query = select(Membership).where(Membership.team_id == cast.team_id, Membership.user_id == cast.owner.user_id)
    return db.session.execute(query).scalar_one()


def _without_times(text: str) -> str:
    """A minute may pass between the two."""
    return re.sub(r"\d\d:\d\d(:[\d.]+)?", "TIME", text)


def _without_link(mail: dict[str, str]) -> str:
    text = _without_times(mail["text"].replace(mail["to"], "ADDRESS"))
    return "\n".join(line for line in text.splitlines() if "/invitations/" not in line)


@pytest.mark.parametrize(
    ("email", "words"),
    [("MEMBER@example.com", "in the team already"), ("Research@EXAMPLE.com", "is invited already")],
)
def test_nobody_is_invited_twice_or_into_their_own_team(team: Cast, email: str, words: str) -> None:
    invite(team, NEW)
    answer = send(team, email)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert len(mails("invitation")) == 1


def test_an_ended_invitation_gives_way_to_a_new_one(app: Flask, team: Cast) -> None:
    old = invite(team, NEW)
    later(LASTS)
    assert "Ended" in team.owner.client.get(f"/teams/{team.team_id}/members").get_data(as_text=True)
    new, guest = invite(team, NEW, "billing"), someone(app, NEW)
    assert guest.client.post(old).status_code == 410
    assert guest.client.post(new).status_code == 303
    assert roles(team.team_id)[NEW] == "billing"
    assert act(team, "delivery").status_code == 303, "too late, and told so"
    assert "accepted or revoked meanwhile" in team.owner.client.get(f"/teams/{team.team_id}/members").get_data(
        as_text=True
    )
    assert len(mails("invitation")) == 2


def test_a_member_who_accepts_stays_what_they_are(app: Flask, team: Cast) -> None:
    """Somebody who was invited, joined in another way, and then opens the link."""
    link, guest = invite(team, NEW, "admin"), someone(app, NEW)
    with unit_of_work() as session:
        session.add(Membership(team_id=team.team_id, user_id=guest.user_id, role="member"))
    assert guest.client.post(link).status_code == 303
    assert roles(team.team_id)[NEW] == "member"


@pytest.mark.parametrize("what", ["", "delivery"])
def test_s36_invitations_are_limited(team: Cast, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A thousand wishes, and the first few become mails; what is refused is not saved either."""
    on_plan(team.team_id, extra_seats=1_000)
    invite(team, NEW)
    statuses = []
    for number in range(1_000 // 40):
        answer = act(team, what) if what else send(team, f"guest{number}@example.com")
        statuses.append(answer.status_code)
    told = mails("invitation")
    assert len(told) == (5 if what else 20)
    if what:
        page = team.owner.client.get(f"/teams/{team.team_id}/members").get_data(as_text=True)
        assert "Too many invitations" in page
    else:
        assert statuses == [303] * 19 + [429] * 6
        count = select(func.count()).where(Invitation.team_id == team.team_id)
        assert db.session.execute(count).scalar_one() == 20
        refused = send(team, "one-more@example.com", headers=HTMX)
        assert refused.status_code == 422, "a status that htmx shows"
        assert "Too many invitations" in refused.get_data(as_text=True)
    assert team.anonymous.post("/reset", data={"email": NEW}).status_code in (200, 302)


def test_s36_mails_to_one_address_are_counted_over_all_teams(team: Cast) -> None:
    on_plan(team.other_team_id)
    other = f"/teams/{team.other_team_id}/invitations"
    assert team.outsider.client.post(other, data={"email": NEW, "role": "member"}).status_code == 303
    for _ in range(3):
        invite(team, NEW)
        act(team, "revocation")
    invite(team, NEW)
    act(team, "revocation")
    assert send(team, NEW).status_code == 429


# ---------------------------------------------------------------- seats


@pytest.mark.parametrize(
    ("plan", "values", "seats"),
    [
        (None, {}, 1),
        ("starter", {}, STARTER_SEATS),
        ("starter", {"extra_seats": 4}, STARTER_SEATS + 4),
        ("starter", {"extra_seats": 4, "status": "past_due"}, STARTER_SEATS + 4),
        ("starter", {"extra_seats": 4, "status": "unpaid"}, STARTER_SEATS + 4),
        ("pro", {"status": "canceled"}, 1),
        ("enterprise", {}, None),
    ],
)
def test_a_team_has_the_seats_of_its_plan_and_those_it_pays_for(
    cast: Cast, plan: str | None, values: dict[str, Any], seats: int | None
) -> None:
    if plan:
        on_plan(cast.team_id, plan, **values)
    assert seat_limit(cast.team_id) == seats


def test_an_invitation_keeps_a_seat_and_a_full_team_invites_nobody(team: Cast) -> None:
    on_plan(team.team_id, "starter", extra_seats=2)
    invite(team, NEW)
    page = team.owner.client.get(f"/teams/{team.team_id}/members").get_data(as_text=True)
    assert "5 <small>of 5 used" in page
    assert "4 taken by members, 1 kept by invitations, 0 free" in " ".join(page.split())
    answer = send(team, "another@example.com")
    assert answer.status_code == 422
    assert "Every seat" in answer.get_data(as_text=True)
    act(team, "revocation")
    assert send(team, "another@example.com").status_code == 303


def test_an_invitation_that_ended_keeps_no_seat_and_needs_one_to_be_sent_again(team: Cast) -> None:
    on_plan(team.team_id, "starter", extra_seats=2)
    invite(team, NEW)
    later(LASTS)
    invite(team, "another@example.com")
    assert act(team, "delivery", headers=HTMX).status_code == 200
    assert len(mails("invitation")) == 2
    assert "Every seat" in act(team, "delivery", headers=HTMX).get_data(as_text=True)


def test_where_seats_went_away_nobody_joins_and_the_invitation_stays(app: Flask, team: Cast) -> None:
    link, guest = invite(team, NEW), someone(app, NEW)
    on_plan(team.team_id, "starter")
    answer = guest.client.post(link)
    assert answer.status_code == 409
    assert "Every seat of the team is taken" in answer.get_data(as_text=True)
    here = guest.client.post(f"/account/invitations/{invitation_to(NEW).id}/acceptance", follow_redirects=True)
    assert "has no seat free" in here.get_data(as_text=True)
    assert NEW not in roles(team.team_id)
    page = team.owner.client.get(f"/teams/{team.team_id}/members").get_data(as_text=True)
    assert "Nobody is put out" in page
    on_plan(team.team_id, "pro")
    assert guest.client.post(link).status_code == 303


def test_invitations_long_over_are_forgotten_with_their_addresses(app: Flask, team: Cast) -> None:
    for email in ("expired@example.com", "revoked@example.com", "accepted@example.com"):
        invite(team, email)
    act(team, "revocation", "revoked@example.com")
    guest = someone(app, "accepted@example.com")
    assert guest.client.post(newest_link()).status_code == 303
    for by, left in ((timedelta(), 3), (KEPT_AFTER_END, 1), (LASTS, 0)):
        later(by + timedelta(minutes=1))
        with unit_of_work():
            invitations.sweep()
        assert db.session.execute(select(func.count()).select_from(Invitation)).scalar_one() == left
    assert roles(team.team_id)["accepted@example.com"] == "member"
