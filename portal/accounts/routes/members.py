"""The page of a team's members, and what those above them do: other roles, removal, handing the team over."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts import memberships
from portal.accounts.access import current_membership, signed_in_user, team_page
from portal.accounts.api_keys import live_keys_by, revoke_key
from portal.accounts.audit import by_user
from portal.accounts.forms import InvitationForm, RoleForm
from portal.accounts.freshness import fresh
from portal.accounts.invitations import LASTS
from portal.accounts.member_list import ROLE_WORDS, MemberRow, invitations_of, members_of
from portal.accounts.role_table import role_table
from portal.accounts.routes.people import bp
from portal.accounts.seats import seat_use
from portal.billing.seat_limit import seat_limit
from portal.billing.subscriptions import live_subscription
from portal.core.authz import ABOVE, Action, Role, may
from portal.core.unit_of_work import unit_of_work

__all__ = ["bp"]


@bp.get("/teams/<team_id>/members")
@team_page(Action.VIEW_MEMBERS)
def members() -> str:
    return render_template("accounts/members.html", **members_page(InvitationForm(formdata=None)))


@bp.get("/teams/<team_id>/members/<member_id>")
@team_page(Action.MANAGE_MEMBERS)
def member(member_id: str) -> str:
    """One person, with all that the reader may do about them."""
    return _member_page(_row(member_id), None)


@bp.post("/teams/<team_id>/members/<member_id>/role")
@team_page(Action.MANAGE_MEMBERS)
@fresh("accounts.member")
def change_member_role(member_id: str) -> ResponseReturnValue:
    form = RoleForm()
    if not form.validate_on_submit():
        return _member_page(_row(member_id), form), 422
    with unit_of_work():
        changed = memberships.change_role(current_membership(), member_id, Role(form.role.data))
    flash(f"{changed.user.display_name} is {ROLE_WORDS[Role(changed.role)].lower()} now.", "success")
    return _back()


@bp.post("/teams/<team_id>/members/<member_id>/removal")
@team_page(Action.MANAGE_MEMBERS)
def remove_member(member_id: str) -> ResponseReturnValue:
    with unit_of_work():
        removed = memberships.remove(current_membership(), member_id)
        if request.form.get("keys") == "revoke":
            for key_id in live_keys_by(removed.team_id, removed.user_id):
                revoke_key(removed.team_id, key_id, by_user(signed_in_user().id))
    flash(f"{removed.user.display_name} is out of the team.", "success")
    return _back()


@bp.post("/teams/<team_id>/members/<member_id>/ownership")
@team_page(Action.HAND_OVER_TEAM)
@fresh("accounts.member")
def hand_over_team(member_id: str) -> ResponseReturnValue:
    with unit_of_work():
        heir = memberships.hand_over(current_membership(), member_id)
    flash(f"{heir.user.display_name} owns the team now, and you are admin.", "success")
    return _back()


@bp.post("/teams/<team_id>/departure")
@team_page(Action.VIEW_MEMBERS)
def leave_team() -> ResponseReturnValue:
    name = current_membership().team.name
    with unit_of_work():
        memberships.leave(current_membership())
    flash(f"You have left “{name}”.", "success")
    return redirect(url_for("accounts.teams"), 303)


def members_page(form: InvitationForm) -> dict[str, object]:
    """What the page shows, and the part of it that an invitation changes."""
    reader = current_membership()
    manages = may(reader.role, Action.MANAGE_MEMBERS)
    form.role.choices = [choice for choice in form.role.choices if choice.value in ABOVE[Role(reader.role)]]
    return {
        "team": reader.team,
        "members": members_of(reader),
        "invitations": invitations_of(reader) if manages else [],
        "seats": seat_use(reader.team_id, seat_limit(reader.team_id)),
        "may_manage": manages,
        "invitation_days": LASTS.days,
        "may_buy": may(reader.role, Action.BUY),
        "subscribed": live_subscription(reader.team_id) is not None,
        "form": form,
        "roles": list(ROLE_WORDS.values()),
        "role_table": role_table(),
    }


def _member_page(row: MemberRow, form: RoleForm | None) -> str:
    reader = current_membership()
    form = form or RoleForm(formdata=None, data={"role": row.role})
    form.role.choices = [choice for choice in form.role.choices if choice.value in ABOVE[Role(reader.role)]]
    return render_template(
        "accounts/member.html",
        team=reader.team,
        member=row,
        form=form,
        keys=len(live_keys_by(reader.team_id, row.user_id)),
        may_hand_over=may(reader.role, Action.HAND_OVER_TEAM) and not row.you and row.role != Role.OWNER,
    )


def _row(member_id: str) -> MemberRow:
    return next((row for row in members_of(current_membership()) if row.id == member_id), None) or abort(404)


def _back() -> ResponseReturnValue:
    return redirect(url_for("accounts.members", team_id=current_membership().team_id), 303)
