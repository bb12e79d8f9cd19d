"""Asking somebody into a team by mail: the link is for one address, once, for a week.

Only a digest of the link's token is kept, so sending again makes a new link and the old one ends. Opening the link
changes nothing, since mail programs open links on their own; whoever is signed in with the address accepts by a form.
The same goes for an invitation found after signing in, as the address is proven by then.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, cast, delete, func, literal, or_, select
from werkzeug.exceptions import Forbidden

from portal.accounts import audit
from portal.accounts.memberships import lock_team, lock_with
from portal.accounts.models import Invitation, Membership, User
from portal.accounts.seats import SeatsOf, need_a_seat, take_a_seat
from portal.core.authz import Role, stands_above
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.tenancy import load_for

LASTS = timedelta(days=7)
# How long the address of somebody who never came, or has come, is kept in an invitation that is over.
KEPT_AFTER_END = timedelta(days=30)
TOKEN_BYTES = 32


class InvitationOver(Exception):
    """It was accepted, revoked or sent anew, is older than `LASTS`, or never was."""


class OtherAddress(Exception):
    """The invitation is for an address that is not the signed-in person's."""


class AlreadyMember(Exception):
    """The address belongs to somebody in the team."""


class AlreadyInvited(Exception):
    """An invitation to the address is under way."""


def invite(inviter: Membership, email: str, role: Role, seats_of: SeatsOf) -> tuple[Invitation, str]:
    """Make an invitation, and the token for its mail. One that ended unanswered gives way to it.

    Nobody learns here whether the address has an account. Raises `AlreadyMember`, `AlreadyInvited`, `NoSeatFree` and
    `Overtaken`; 403 unless the inviter stands above the role.
    """
    team_id = inviter.team_id
    lock_with(inviter)
    if not stands_above(inviter.role, role):
        raise Forbidden
    if _is_member(team_id, email):
        raise AlreadyMember
    before = _open_of_address(team_id, email)
    if before is not None:
        if _is_live(before):
            raise AlreadyInvited
        before.revoked_at = app_now()
        db.session.flush()
    need_a_seat(team_id, seats_of(team_id))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation = Invitation(
        team_id=team_id,
        email=email,
        role=role,
        digest=_digest(token),
        invited_by_id=inviter.user_id,
        expires_at=_until(),
    )
    db.session.add(invitation)
    db.session.flush()
    _record(inviter.user_id, "member.invited", invitation)
    return invitation, token


def send_again(sender: Membership, invitation_id: str, seats_of: SeatsOf) -> tuple[Invitation, str]:
    """A new link in place of the old one, with all its time before it.

    Raises `InvitationOver`, `NoSeatFree`, `Overtaken`; 403 unless the sender stands above its role.
    """
    invitation = _locked_open(sender, invitation_id)
    if not _is_live(invitation):
        need_a_seat(sender.team_id, seats_of(sender.team_id))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation.digest, invitation.sent_at, invitation.expires_at = _digest(token), app_now(), _until()
    invitation.invited_by_id = sender.user_id
    db.session.flush()
    _record(sender.user_id, "invitation.sent_again", invitation)
    return invitation, token


def revoke(actor: Membership, invitation_id: str) -> Invitation:
    """End it, whether somebody was about to accept or its time was over. Raises as `send_again` does."""
    invitation = _locked_open(actor, invitation_id)
    invitation.revoked_at = app_now()
    db.session.flush()
    _record(actor.user_id, "invitation.revoked", invitation)
    return invitation


def of_token(token: str) -> Invitation:
    """The live invitation whose link this is. Raises `InvitationOver`."""
    return _live_one(Invitation.digest == _digest(token))


def of_id(invitation_id: str) -> Invitation:
    """The live invitation, for a person who has proven its address by signing in. Raises `InvitationOver`."""
    return _live_one(Invitation.id == invitation_id)


def to_person(user: User) -> list[Invitation]:
    """What the signed-in person may accept, newest first."""
    query = select(Invitation).where(_is_for(user.email), _live()).order_by(Invitation.sent_at.desc(), Invitation.id)
    return list(db.session.execute(query).scalars())


def is_to(invitation: Invitation, email: str) -> bool:
    return invitation.email.lower() == email.lower()


def accept(found: Invitation, user: User, seats_of: SeatsOf) -> Membership:
    """Join the team in the invitation's role. Somebody who is in the team already stays what they are.

    Of many at once each waits for the team's row, and looks again whether the invitation is live and a seat free.
    Raises `OtherAddress`, `InvitationOver`, `NoSeatFree`.
    """
    if not is_to(found, user.email):
        raise OtherAddress
    digest = found.digest
    lock_team(found.team_id)
    invitation = _live_one(Invitation.id == found.id, Invitation.digest == digest)
    member = _membership(invitation.team_id, user.id)
    if member is None:
        take_a_seat(invitation.team_id, seats_of(invitation.team_id))
        member = Membership(team_id=invitation.team_id, user_id=user.id, role=invitation.role)
        db.session.add(member)
        _record(user.id, "member.joined", invitation)
    invitation.accepted_at = app_now()
    db.session.flush()
    return member


def sweep() -> int:
    """Forget invitations that have been over for long, and with them the addresses of people who never came."""
    since = app_now() - cast(literal(KEPT_AFTER_END), Interval)
    over = or_(Invitation.expires_at < since, Invitation.accepted_at < since, Invitation.revoked_at < since)
    gone = delete(Invitation).where(over).returning(Invitation.id).execution_options(synchronize_session=False)
    return len(db.session.execute(gone).all())


def _locked_open(actor: Membership, invitation_id: str) -> Invitation:
    """The team's invitation as it is now, with the team locked; 404 if it is not the team's."""
    lock_with(actor)
    invitation = load_for(actor.team_id, Invitation, invitation_id)
    db.session.refresh(invitation)
    if not stands_above(actor.role, invitation.role):
        raise Forbidden
    if invitation.accepted_at is not None or invitation.revoked_at is not None:
        raise InvitationOver
    return invitation


def _live_one(*where: ColumnElement[bool]) -> Invitation:
    query = select(Invitation).where(*where, _live()).execution_options(populate_existing=True)
    invitation = db.session.execute(query).scalar_one_or_none()
    if invitation is None:
        raise InvitationOver
    return invitation


def _is_live(invitation: Invitation) -> bool:
    found = db.session.execute(select(Invitation.id).where(Invitation.id == invitation.id, _live()))
    return found.one_or_none() is not None


def _live() -> ColumnElement[bool]:
    return _open() & (Invitation.expires_at > app_now())


def _open() -> ColumnElement[bool]:
    return Invitation.accepted_at.is_(None) & Invitation.revoked_at.is_(None)


def _is_for(email: str) -> ColumnElement[bool]:
    return func.lower(Invitation.email) == email.lower()


def _open_of_address(team_id: str, email: str) -> Invitation | None:
    query = select(Invitation).where(Invitation.team_id == team_id, _is_for(email), _open())
    return db.session.execute(query).scalar_one_or_none()


def _is_member(team_id: str, email: str) -> bool:
    query = select(Membership.id).join(User, User.id == Membership.user_id)
    found = query.where(Membership.team_id == team_id, func.lower(User.email) == email.lower())
    return db.session.execute(found).first() is not None


def _membership(team_id: str, user_id: str) -> Membership | None:
    query = select(Membership).where(Membership.team_id == team_id, Membership.user_id == user_id)
    return db.session.execute(query).scalar_one_or_none()


def _until() -> ColumnElement[datetime]:
    return app_now() + cast(literal(LASTS), Interval)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _record(user_id: str, action: str, invitation: Invitation) -> None:
    """By ids: an entry can never be erased, so it holds no address."""
    audit.record(audit.by_user(user_id), action, team_id=invitation.team_id, target=invitation.id, role=invitation.role)
