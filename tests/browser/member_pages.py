"""Pages of a team's people in their states: who is in it, who is invited, and what the invited see."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from portal.accounts import invitations
from portal.accounts.models import Invitation, Membership, User
from portal.core.addresses import own_address
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.outbox import put_mail
from tests.browser.people import Person
from tests.browser.visitor import Visitor

Play = Callable[[Visitor, Any], None]
WAITING, ENDED, STRANGER = "research@harbor.example", "sales@harbor.example", "newcomer@harbor.example"


def invited(someone: Visitor, host: Person, email: str) -> str:
    """The path of a mailed link that is good, whether the address was invited before or not."""
    with someone.stack.portal.app_context():
        with unit_of_work():
            inviter = _membership(host.team_id, host.email)
            known = _open(host.team_id, email)
            if known is None:
                _, token = invitations.invite(inviter, email, Role.MEMBER, lambda _team: None)
            else:
                _, token = invitations.send_again(inviter, known.id, lambda _team: None)
        db.session.remove()
    return f"/invitations/{token}"


def a_team_with_guests(someone: Visitor, company: Any) -> None:
    """One invitation waits and one has ended."""
    host = company.household.owner
    for email in (WAITING, ENDED):
        invited(someone, host, email)
    with someone.stack.portal.app_context():
        with unit_of_work():
            ended = _open(host.team_id, ENDED)
            assert ended is not None
            ended.expires_at -= timedelta(days=10)
            ended.sent_at -= timedelta(days=10)
        db.session.remove()
    someone.go(f"/teams/{host.team_id}/members")


def refused(someone: Visitor, company: Any) -> None:
    """Somebody who is in the team already; the answer comes by a swap."""
    someone.go(f"/teams/{company.household.team_id}/members")
    someone.page.get_by_label("E-mail").fill("member@example.com")
    someone.press("Send invitation")
    someone.page.locator("[aria-invalid]").wait_for()


def leaving(someone: Visitor, company: Any) -> None:
    someone.go(f"/teams/{company.household.team_id}/members")
    someone.page.locator("summary", has_text="Leave").click()


def colleague(email: str, opened: str | None = None) -> Play:
    """The page of somebody in the demo team, perhaps with the last question open."""

    def play(someone: Visitor, company: Any) -> None:
        team_id = company.household.team_id
        with someone.stack.portal.app_context():
            member_id = _membership(team_id, email).id
            db.session.remove()
        someone.go(f"/teams/{team_id}/members/{member_id}")
        if opened:
            someone.page.locator("summary", has_text=opened).click()

    return play


def only_owner(someone: Visitor, company: Any) -> None:
    """The last owner's own row has no way out, so the form is sent as another page would."""
    someone.go(f"/teams/{company.free.team_id}/members")
    someone.send(f"/teams/{company.free.team_id}/departure", {})
    someone.page.get_by_text("A team needs an owner").wait_for()


def link(guest: Callable[[Any], str]) -> Play:
    """What the mailed link shows to whoever looks."""

    def play(someone: Visitor, company: Any) -> None:
        someone.go(invited(someone, company.household.owner, guest(company)))

    return play


def no_seat(someone: Visitor, company: Any) -> None:
    """A team that had room when it invited, and has none now."""
    someone.go(invited(someone, company.free, company.guest.email))
    someone.press("Join the team")
    someone.page.get_by_text("Every seat of the team is taken").wait_for()


def sign_up(someone: Visitor, company: Any) -> None:
    someone.go(invited(someone, company.household.owner, STRANGER))
    someone.page.get_by_role("link", name="Create an account to join").click()
    someone.page.get_by_role("heading", name="Create an account").wait_for()


def my_invitations(someone: Visitor, company: Any) -> None:
    invited(someone, company.household.owner, company.guest.email)
    someone.go("/teams")


def mail(someone: Visitor, company: Any) -> None:
    address = own_link(someone, invited(someone, company.household.owner, WAITING))
    with someone.stack.portal.app_context():
        message = messages.invitation(
            WAITING, team_name="Harbor Analytics", inviter="Owner", role="member", ends="25 Nov 2026, 14:01 CET",
            link=address,
        )  # fmt: skip
        with unit_of_work():
            put_mail(message)
        db.session.remove()
    someone.open_mail(WAITING, message.subject)


def own_link(someone: Visitor, path: str) -> str:
    with someone.stack.portal.app_context():
        return own_address("accounts.invitation", token=path.rpartition("/")[2])


def _membership(team_id: str, email: str) -> Membership:
    query = select(Membership).join(User, User.id == Membership.user_id)
    return db.session.execute(query.where(Membership.team_id == team_id, User.email == email)).scalar_one()


def _open(team_id: str, email: str) -> Invitation | None:
    query = select(Invitation).where(Invitation.team_id == team_id, Invitation.email == email)
    return db.session.execute(
        query.where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
    ).scalar_one_or_none()
