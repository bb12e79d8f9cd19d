"""Inviting people into a team, and what the invited do with the mailed link."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required, current_user

from portal.accounts import invitations, throttle
from portal.accounts.access import current_membership, signed_in_user, team_page
from portal.accounts.forms import InvitationForm
from portal.accounts.invitations import AlreadyInvited, AlreadyMember, InvitationOver, OtherAddress
from portal.accounts.member_list import ROLE_WORDS
from portal.accounts.models import Invitation
from portal.accounts.routes.members import members_page
from portal.accounts.routes.people import bp
from portal.accounts.seats import NoSeatFree
from portal.billing.seat_limit import seat_limit
from portal.core.addresses import own_address
from portal.core.authz import Action, Role, stands_above
from portal.core.htmx import is_htmx
from portal.core.times import moment_words
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.notify import notify_address

__all__ = ["bp"]

TOO_MANY = "Too many invitations were sent in a short time. Nothing was sent now; try again in an hour."
NO_SEAT = "Every seat of the team is taken or kept for somebody who is invited. Nothing was sent."
OVER = "This invitation was accepted or revoked meanwhile. Nothing was sent."


@bp.post("/teams/<team_id>/invitations")
@team_page(Action.MANAGE_MEMBERS)
def invite() -> ResponseReturnValue:
    form = InvitationForm()
    role = form.role.data
    if role in ROLE_WORDS and not stands_above(current_membership().role, role):
        abort(403)
    if not form.validate_on_submit():
        return _people(form, 422)
    refusal = _invite(form.email.data, Role(role))
    if refusal is not None:
        form.email.errors = [refusal]
        return _people(form, 429 if refusal == TOO_MANY and not is_htmx() else 422)
    flash(f"An invitation is on its way to {form.email.data}.", "success")
    return _people_again()


@bp.post("/teams/<team_id>/invitations/<invitation_id>/delivery")
@team_page(Action.MANAGE_MEMBERS)
def send_invitation_again(invitation_id: str) -> ResponseReturnValue:
    try:
        with unit_of_work():
            invitation, token = invitations.send_again(current_membership(), invitation_id, seat_limit)
            _mail(invitation, token)
    except (InvitationOver, NoSeatFree, _TooMany) as error:
        return _people_again(_words(error))
    flash(f"The invitation is on its way to {invitation.email} again; the link from before has ended.", "success")
    return _people_again()


@bp.post("/teams/<team_id>/invitations/<invitation_id>/revocation")
@team_page(Action.MANAGE_MEMBERS)
def revoke_invitation(invitation_id: str) -> ResponseReturnValue:
    try:
        with unit_of_work():
            invitation = invitations.revoke(current_membership(), invitation_id)
    except InvitationOver as error:
        return _people_again(_words(error))
    flash(f"The invitation to {invitation.email} is revoked.", "success")
    return _people_again()


@bp.get("/invitations/<token>")
def invitation(token: str) -> ResponseReturnValue:
    """Asks and changes nothing, because mail programs open links on their own."""
    try:
        return _invitation_page(invitations.of_token(token), token)
    except InvitationOver:
        return render_template("accounts/invitation_over.html"), 410


@bp.post("/invitations/<token>")
def accept_invitation(token: str) -> ResponseReturnValue:
    if not current_user.is_authenticated:
        return redirect(url_for("security.login", next=url_for("accounts.invitation", token=token)), 303)
    try:
        found = invitations.of_token(token)
        try:
            return _join(found)
        except OtherAddress:
            return _invitation_page(found, token, 403)
        except NoSeatFree:
            return _invitation_page(found, token, 409, full=True)
    except InvitationOver:
        return render_template("accounts/invitation_over.html"), 410


@bp.post("/account/invitations/<invitation_id>/acceptance")
@auth_required("session")
def accept_invitation_here(invitation_id: str) -> ResponseReturnValue:
    """From the list of one's teams, after signing in with the address: no mail is needed to prove it again."""
    try:
        found = invitations.of_id(invitation_id)
        return _join(found)
    except (InvitationOver, OtherAddress):
        abort(404)
    except NoSeatFree:
        flash(f"“{found.team.name}” has no seat free. Ask whoever invited you for one, then try again.", "error")
        return redirect(url_for("accounts.teams"), 303)


class _TooMany(Exception):
    """The team, the sender or the address has had its mails for now."""


def _invite(email: str, role: Role) -> str | None:
    """Save and mail an invitation; what stands against it, if anything does."""
    try:
        with unit_of_work():
            invitation, token = invitations.invite(current_membership(), email, role, seat_limit)
            _mail(invitation, token)
    except (AlreadyMember, AlreadyInvited, NoSeatFree, _TooMany) as error:
        return _words(error)
    return None


def _words(error: Exception) -> str:
    return {
        AlreadyMember: "Somebody with this address is in the team already.",
        AlreadyInvited: "This address is invited already. You can send the invitation below again.",
        NoSeatFree: NO_SEAT,
        InvitationOver: OVER,
        _TooMany: TOO_MANY,
    }[type(error)]


def _mail(invitation: Invitation, token: str) -> None:
    """Last in the unit, so that what is refused counts for no limit. Raises `_TooMany`."""
    sender, team = signed_in_user(), invitation.team
    if not throttle.may_invite(sender.id, team.id, invitation.email):
        raise _TooMany
    message = messages.invitation(
        invitation.email,
        team_name=team.name,
        inviter=sender.display_name,
        role=ROLE_WORDS[Role(invitation.role)].lower(),
        ends=moment_words(invitation.expires_at, team.time_zone),
        link=own_address("accounts.invitation", token=token),
    )
    # Signed in with the address, no token is needed: the list of teams has the invitation.
    notify_address(message, f"invitation:{invitation.id}", link=own_address("accounts.teams"))


def _join(found: Invitation) -> ResponseReturnValue:
    with unit_of_work():
        member = invitations.accept(found, signed_in_user(), seat_limit)
    flash(f"You are in “{found.team.name}” now.", "success")
    return redirect(url_for("accounts.members", team_id=member.team_id), 303)


def _invitation_page(found: Invitation, token: str, status: int = 200, *, full: bool = False) -> ResponseReturnValue:
    user = signed_in_user() if current_user.is_authenticated else None
    page = render_template(
        "accounts/invitation.html",
        invitation=found,
        role=ROLE_WORDS[Role(found.role)].lower(),
        token=token,
        address=request.path,
        user=user,
        fits=user is not None and invitations.is_to(found, user.email),
        full=full,
    )
    return page, status


def _people(form: InvitationForm, status: int) -> ResponseReturnValue:
    template = "accounts/_people.html" if is_htmx() else "accounts/members.html"
    return render_template(template, **members_page(form)), status


def _people_again(refusal: str | None = None) -> ResponseReturnValue:
    """The members as they are now: in place, or by way of their page. A refusal stands above them."""
    if not is_htmx():
        if refusal is not None:
            flash(refusal, "error")
        return redirect(url_for("accounts.members", team_id=current_membership().team_id), 303)
    page = members_page(InvitationForm(formdata=None))
    return render_template("accounts/_people.html", **page, refusal=refusal) + render_template("_layout/_toasts.html")
