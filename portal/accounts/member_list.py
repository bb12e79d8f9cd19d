"""Who is in a team and who was asked into it, as its page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, select
from sqlalchemy.orm import joinedload

from portal.accounts import two_factor
from portal.accounts.models import Invitation, Membership
from portal.core.authz import Role, stands_above
from portal.core.clock import app_now
from portal.core.database import db

ROLE_WORDS = {Role.OWNER: "Owner", Role.ADMIN: "Admin", Role.BILLING: "Billing", Role.MEMBER: "Member"}
_PLACES = {role.value: place for place, role in enumerate(Role)}


@dataclass(frozen=True)
class MemberRow:
    """`may_change`: the reader stands above this person. `only_owner`: without them the team would have none."""

    id: str
    user_id: str
    name: str
    email: str
    initials: str
    role: str
    role_words: str
    joined_at: datetime
    two_step: bool
    you: bool
    may_change: bool
    only_owner: bool


@dataclass(frozen=True)
class InvitationRow:
    id: str
    email: str
    role_words: str
    invited_by: str
    sent_at: datetime
    expires_at: datetime
    ended: bool
    may_change: bool


def members_of(reader: Membership) -> list[MemberRow]:
    """Everybody in the reader's team: by role, then by how long they are in it."""
    query = (
        select(Membership)
        .where(Membership.team_id == reader.team_id)
        .order_by(case(_PLACES, value=Membership.role), Membership.created_at, Membership.id)
        .options(joinedload(Membership.user))
        .execution_options(populate_existing=True)
    )
    found = list(db.session.execute(query).scalars())
    owners = sum(member.role == Role.OWNER for member in found)
    return [_member(member, reader, only_owner=member.role == Role.OWNER and owners == 1) for member in found]


def invitations_of(reader: Membership) -> list[InvitationRow]:
    """Those nobody has answered, also when their time is over: newest first."""
    query = (
        select(Invitation, Invitation.expires_at <= app_now())
        .where(Invitation.team_id == reader.team_id, Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        .order_by(Invitation.sent_at.desc(), Invitation.id.desc())
        .options(joinedload(Invitation.invited_by))
        .execution_options(populate_existing=True)
    )
    return [_invitation(invitation, reader, ended) for invitation, ended in db.session.execute(query)]


def _member(member: Membership, reader: Membership, *, only_owner: bool) -> MemberRow:
    user = member.user
    return MemberRow(
        id=member.id,
        user_id=user.id,
        name=user.display_name,
        email=user.email,
        initials=user.initials,
        role=member.role,
        role_words=ROLE_WORDS[Role(member.role)],
        joined_at=member.created_at,
        two_step=two_factor.is_on(user),
        you=member.id == reader.id,
        may_change=member.id != reader.id and stands_above(reader.role, member.role),
        only_owner=only_owner,
    )


def _invitation(invitation: Invitation, reader: Membership, ended: bool) -> InvitationRow:
    return InvitationRow(
        id=invitation.id,
        email=invitation.email,
        role_words=ROLE_WORDS[Role(invitation.role)],
        invited_by=invitation.invited_by.display_name,
        sent_at=invitation.sent_at,
        expires_at=invitation.expires_at,
        ended=ended,
        may_change=stands_above(reader.role, invitation.role),
    )
