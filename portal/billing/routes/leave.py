"""Leaving a plan and staying after all, pausing it and going on: as easy as subscribing, and said plainly before and after."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.billing import leave_page, leave_preview, plan_change
from portal.billing.change_models import ChangePreview
from portal.billing.change_refusals import change_refusal, change_trouble
from portal.billing.change_refused import ChangeRefused
from portal.billing.gateway import GatewayError, gateway
from portal.billing.leave_preview import COMMENT_LENGTH_MAX, LeaveWish
from portal.billing.leave_rules import may
from portal.billing.portal_configuration import CANCEL_REASONS
from portal.billing.routes.overview import bp
from portal.billing.routes.plan import PREVIEWED, refused, this_person
from portal.billing.subscriptions import live_subscription
from portal.core.authz import Action
from portal.core.limits import limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import unit_of_work
from portal.usage.last_report import report_all

WHEN = {"period_end": "cancel", "now": "cancel_now"}


@bp.get("/teams/<team_id>/plan/cancellation", endpoint="cancel_page")
@team_page(Action.CHANGE_PLAN)
def cancel_page() -> ResponseReturnValue:
    team = current_team()
    try:
        act = "cancel" if may("cancel", leave_preview.standing_of(live_subscription(team.id))) else "cancel_now"
        leave_preview.leavable(team.id, act)
    except ChangeRefused as reason:
        return refused(change_refusal(reason, team.id, "cancel")[0], 200)  # the page that was asked for says so
    return _form({}, {})


@bp.post("/teams/<team_id>/plan/cancellation")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def cancel_plan() -> ResponseReturnValue:
    """At the end of the period it is done with this; at once it is shown first what is given back."""
    form = request.form
    when, feedback, comment = form.get("when", "period_end"), form.get("feedback", ""), form.get("comment", "")
    comment = comment.replace("\0", "").strip()
    errors = {}
    if when not in WHEN:
        errors["when"] = "Choose when the plan is to end."
    if feedback and feedback not in CANCEL_REASONS:
        errors["feedback"] = "Choose one of the reasons, or none."
    if len(comment) > COMMENT_LENGTH_MAX:
        errors["comment"] = f"At most {COMMENT_LENGTH_MAX} characters, please; these are {len(comment):,}."
    if errors and live_subscription(current_team().id) is not None:
        return _form({"when": when, "feedback": feedback, "comment": comment}, errors), 422
    return _do(LeaveWish(WHEN.get(when, "cancel"), feedback or None, comment or None))


@bp.post("/teams/<team_id>/plan/cancellation/removal")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def resume_plan() -> ResponseReturnValue:
    return _do(LeaveWish("resume"))


@bp.get("/teams/<team_id>/plan/pause", endpoint="pause_page")
@team_page(Action.CHANGE_PLAN)
def pause_page() -> ResponseReturnValue:
    team = current_team()
    try:
        leave_preview.leavable(team.id, "pause")
    except ChangeRefused as reason:
        return refused(change_refusal(reason, team.id, "pause")[0], 200)
    return render_template("billing/pause.html", team=team, page=leave_page.pause_page(team.id))


@bp.post("/teams/<team_id>/plan/pause")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def pause_plan() -> ResponseReturnValue:
    return _do(LeaveWish("pause"))


@bp.post("/teams/<team_id>/plan/pause/removal")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def unpause_plan() -> ResponseReturnValue:
    """Within the period that was paid for it is done with this; after it what a new one costs is shown first."""
    return _do(LeaveWish("unpause"))


def _form(entered: dict[str, str], errors: dict[str, str]) -> str:
    team = current_team()
    page = leave_page.cancel_page(team.id)
    return render_template("billing/cancel.html", team=team, page=page, entered=entered, errors=errors)


def _do(wish: LeaveWish) -> ResponseReturnValue:
    """Agree in the moment to what moves no money; show everything else first."""
    team, user_id = current_team(), signed_in_user().id
    try:
        preview_id = leave_preview.make(gateway(), team, user_id, wish, report_all)
        preview = load_for(team.id, ChangePreview, preview_id)
        if preview.kind == "cancel_now" or preview.shown["at_once"]:
            return redirect(url_for("billing.show_preview", team_id=team.id, preview_id=preview_id), 303)
        with unit_of_work():
            change = plan_change.agree(team, user_id, load_for(team.id, ChangePreview, preview_id))
    except ChangeRefused as reason:
        return refused(*change_refusal(reason, team.id, wish.act))
    except GatewayError as error:
        return refused(change_trouble(error, team.id, wish.act), 502)
    return redirect(url_for("billing.plan_change", team_id=team.id, change_id=change.id), 303)
