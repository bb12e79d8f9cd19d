"""Who is in a team and as what: changing roles, removing people, leaving, handing the team over.

Each act locks the team's row first and then looks again at who acts and on whom, so that of two people who act on each
other only the first does. A table in `core.authz` says who stands above whom.
"""

from __future__ import annotations

from sqlalchemy import delete, func, select, update
from werkzeug.exceptions import Conflict, Forbidden

from portal.accounts import audit
from portal.accounts.models import BillingEmailChange, Invitation, Membership, Team
from portal.core.authz import ABOVE, Action, Role, may, stands_above
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.error_words import ErrorWords
from portal.core.tenancy import load_for


class LastOwner(Conflict):
    """The team would be left without an owner."""

    words = ErrorWords(
        "A team needs an owner",
        "This is the only owner of the team. Nothing was changed.",
        "Make somebody else an owner first, or hand the team over.",
    )


class Overtaken(Conflict):
    """Between the click and the act somebody else changed who is in the team."""

    words = ErrorWords(
        "The team has changed meanwhile",
        "Somebody changed who is in the team, or as what, at the same moment. Nothing was done by your click.",
        "Look at the members again, and try again if you still want to.",
    )


def lock_team(team_id: str) -> None:
    """Until the end of the unit nobody else changes who is in the team. Reads that follow see what is so now."""
    db.session.execute(select(Team.id).where(Team.id == team_id).with_for_update(key_share=True))


def lock_with(actor: Membership) -> None:
    """Lock the team; raise `Overtaken` if the one who acts is not any more what the guard of the page has seen."""
    lock_team(actor.team_id)
    role = db.session.execute(select(Membership.role).where(Membership.id == actor.id)).scalar_one_or_none()
    if role != actor.role:
        raise Overtaken


def change_role(actor: Membership, member_id: str, role: Role) -> Membership:
    """Give a member another role. Raises `LastOwner` and `Overtaken`; 403 unless above both roles."""
    member = _member_below(actor, member_id)
    if not stands_above(actor.role, role):
        raise Forbidden
    if member.role != role:
        before = member.role
        _set_role(member, role)
        audit.record(
            audit.by_user(actor.user_id),
            "member.role_changed",
            team_id=member.team_id,
            target=member.user_id,
            before=before,
            after=role.value,
        )
    return member


def remove(actor: Membership, member_id: str) -> Membership:
    """Put a member out of the team, which they feel at their next request. Raises as `change_role` does."""
    member = _member_below(actor, member_id)
    _end(member)
    audit.record(
        audit.by_user(actor.user_id), "member.removed", team_id=member.team_id, target=member.user_id, role=member.role
    )
    return member


def leave(member: Membership) -> None:
    """Go by oneself. Raises `LastOwner` and `Overtaken`."""
    lock_with(member)
    _end(member)
    audit.record(
        audit.by_user(member.user_id), "member.left", team_id=member.team_id, target=member.user_id, role=member.role
    )


def hand_over(owner: Membership, member_id: str) -> Membership:
    """Make a member the owner in place of the one who acts, who stays as an admin. Raises `Overtaken`."""
    heir = _member_below(owner, member_id)
    if heir.id == owner.id:
        raise Forbidden
    if heir.role == Role.OWNER:  # no page offers that
        raise Overtaken
    _set_role(heir, Role.OWNER)
    _set_role(owner, Role.ADMIN)
    audit.record(audit.by_user(owner.user_id), "team.handed_over", team_id=owner.team_id, target=heir.user_id)
    return heir


def _member_below(actor: Membership, member_id: str) -> Membership:
    """The member as they are now, with the team locked; 404 if there is none, 403 unless the actor stands above."""
    lock_with(actor)
    member = load_for(actor.team_id, Membership, member_id)
    db.session.refresh(member)
    if not stands_above(actor.role, member.role):
        raise Forbidden
    return member


def _set_role(member: Membership, role: Role) -> None:
    if member.role == Role.OWNER:
        _keep_an_owner(member, role)
    member.role = role.value
    db.session.flush()
    _take_back(member, role)


def _end(member: Membership) -> None:
    if member.role == Role.OWNER:
        _keep_an_owner(member, None)
    _take_back(member, None)
    db.session.delete(member)
    db.session.flush()


def _keep_an_owner(member: Membership, role: Role | None) -> None:
    owners = select(func.count()).where(
        Membership.team_id == member.team_id, Membership.role == Role.OWNER.value, Membership.id != member.id
    )
    if role != Role.OWNER and db.session.execute(owners).scalar_one() == 0:
        raise LastOwner


def _take_back(member: Membership, role: Role | None) -> None:
    """Nobody goes on by a mail from when they still might: what they may not do any more, they have not begun."""
    _revoke_invitations(member, role)
    if role is None or not may(role, Action.MANAGE_BILLING):
        _withdraw_billing_email(member)


def _withdraw_billing_email(member: Membership) -> None:
    db.session.execute(
        delete(BillingEmailChange).where(
            BillingEmailChange.team_id == member.team_id, BillingEmailChange.asked_by_id == member.user_id
        )
    )


def _revoke_invitations(member: Membership, role: Role | None) -> None:
    given = [one.value for one in ABOVE[role]] if role else []
    db.session.execute(
        update(Invitation)
        .where(
            Invitation.team_id == member.team_id,
            Invitation.invited_by_id == member.user_id,
            Invitation.role.not_in(given),
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=app_now())
    )
