"""Changing the plan: options, a preview that is a contract, the word that does it, and waiting for what comes of it."""

from __future__ import annotations

from functools import partial

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.billing import change_page, change_preview, change_status, leave_page, plan_change
from portal.billing.change_models import LEAVE_KINDS, ChangePreview, PendingChange
from portal.billing.change_refusals import change_refusal, change_trouble
from portal.billing.change_refused import ChangeRefused
from portal.billing.change_rules import Wish
from portal.billing.gateway import GatewayError, gateway
from portal.billing.hosted_pages import is_hosted
from portal.billing.refusals import Refusal
from portal.billing.routes.overview import bp
from portal.core.authz import Action
from portal.core.limits import Quota, limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import unit_of_work

PREVIEWED = Quota("change-previews", "30 per minute")
HOUR_SECONDS = 3600
SEATS_DIGITS_MAX = 6


def this_person() -> str:
    return signed_in_user().id


@bp.get("/teams/<team_id>/plan")
@team_page(Action.CHANGE_PLAN)
def change_plan() -> ResponseReturnValue:
    team = current_team()
    try:
        change_preview.changeable(team.id)
    except ChangeRefused as reason:
        return refused(change_refusal(reason, team.id, "plan")[0], 200)  # the page that was asked for says so
    return render_template("billing/change_plan.html", team=team, options=change_page.options_form(team.id))


@bp.post("/teams/<team_id>/plan/previews")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def preview_change() -> ResponseReturnValue:
    """The form names what is wanted; what it costs is worked out at Stripe."""
    form = request.form
    wish = Wish(
        kind="plan",
        plan_key=form.get("plan", ""),
        interval=form.get("interval", ""),
        seats=number_of(form.get("seats", "")),
        promotion_code=form.get("promotion_code", "").strip() or None,
    )
    return make_preview(wish)


def make_preview(wish: Wish) -> ResponseReturnValue:
    """Make a preview and go to it, or say why there is none."""
    team = current_team()
    try:
        preview_id = change_preview.make(gateway(), team, signed_in_user().id, wish)
    except ChangeRefused as reason:
        return refused(*change_refusal(reason, team.id, wish.kind))
    except GatewayError as error:
        return refused(change_trouble(error, team.id, wish.kind), 502)
    return redirect(url_for("billing.show_preview", team_id=team.id, preview_id=preview_id), 303)


def number_of(text: str) -> int | None:
    """A number of seats; None for what is none, which leaves it to the plan."""
    text = text.strip()
    whole = text.isascii() and text.isdecimal() and len(text) <= SEATS_DIGITS_MAX
    return int(text) or None if whole else None


@bp.get("/teams/<team_id>/plan/previews/<preview_id>")
@team_page(Action.CHANGE_PLAN)
def show_preview(preview_id: str) -> ResponseReturnValue:
    """Once somebody has agreed to it, what became of that is what there is to see."""
    team = current_team()
    preview = load_for(team.id, ChangePreview, preview_id)
    change = plan_change.change_of(preview)
    if change is not None:
        return redirect(url_for("billing.plan_change", team_id=team.id, change_id=change.id))
    if preview.kind == "undo":
        abort(404)  # it has no sums, and is agreed to in the moment that it is made
    if preview.kind in LEAVE_KINDS:
        leaving = leave_page.preview_page(team.id, preview)
        return render_template("billing/leave_preview.html", team=team, page=leaving)
    page = change_page.preview_page(team.id, preview)
    options = change_page.options_form(team.id, preview) if preview.kind == "plan" else None
    return render_template("billing/change_preview.html", team=team, page=page, options=options)


@bp.post("/teams/<team_id>/plan/previews/<preview_id>/agreement")
@team_page(Action.CHANGE_PLAN)
def agree_to_change(preview_id: str) -> ResponseReturnValue:
    team, user_id = current_team(), signed_in_user().id
    preview = load_for(team.id, ChangePreview, preview_id)
    try:
        with unit_of_work():
            change = plan_change.agree(team, user_id, preview)
    except ChangeRefused as reason:
        return refused(*change_refusal(reason, team.id, preview.kind), again=change_status.wish_fields(preview))
    return redirect(url_for("billing.plan_change", team_id=team.id, change_id=change.id), 303)


@bp.post("/teams/<team_id>/plan/planned/removal")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def undo_planned() -> ResponseReturnValue:
    """Take back what is planned. It costs nothing, so that there is nothing to look at first."""
    team, user_id = current_team(), signed_in_user().id
    try:
        preview_id = change_preview.make(gateway(), team, user_id, Wish("undo"))
        with unit_of_work():
            change = plan_change.agree(team, user_id, load_for(team.id, ChangePreview, preview_id))
    except ChangeRefused as reason:
        return refused(*change_refusal(reason, team.id, "plan"))
    except GatewayError as error:
        return refused(change_trouble(error, team.id, "plan"), 502)
    return redirect(url_for("billing.plan_change", team_id=team.id, change_id=change.id), 303)


@bp.get("/teams/<team_id>/plan/changes/<change_id>", endpoint="plan_change")
@team_page(Action.CHANGE_PLAN)
def plan_change_page(change_id: str) -> str:
    return render_template("billing/plan_change.html", **_context(change_id))


@bp.get("/teams/<team_id>/plan/changes/<change_id>/status")
@team_page(Action.CHANGE_PLAN)
def plan_change_status(change_id: str) -> ResponseReturnValue:
    """The fragment that the page asks for while it waits; 204 while there is nothing new to say.

    The switcher comes along when the change is made, since it names the plan.
    """
    context = _context(change_id)
    state: change_status.ChangeStatus = context["state"]  # type: ignore[assignment]
    if state.kind == request.args.get("seen"):
        return "", 204
    fragment = render_template("billing/_change_status.html", **context)
    if state.kind in ("done", "left"):
        fragment += render_template("_layout/_switcher.html", swapped_along=True, **context)
    return fragment


@bp.post("/teams/<team_id>/plan/changes/<change_id>/withdrawal")
@team_page(Action.CHANGE_PLAN)
def withdraw_change(change_id: str) -> ResponseReturnValue:
    team, user_id = current_team(), signed_in_user().id
    with unit_of_work():
        plan_change.withdraw(load_for(team.id, PendingChange, change_id), user_id)
    return redirect(url_for("billing.plan_change", team_id=team.id, change_id=change_id), 303)


def _context(change_id: str) -> dict[str, object]:
    team = current_team()
    change = load_for(team.id, PendingChange, change_id)
    state = change_status.read(change)
    address = partial(url_for, team_id=team.id, change_id=change.id)
    return {
        "team": team,
        "state": state,
        "confirm_url": state.confirm_url if state.confirm_url and is_hosted(state.confirm_url) else None,
        "status_url": address("billing.plan_change_status"),
        "again_url": address("billing.plan_change"),
        "withdraw_url": address("billing.withdraw_change"),
        "afterwards": leave_page.afterwards(change) if state.kind == "left" else [],
        "overview_url": url_for("billing.overview", team_id=team.id),
    }


def refused(reason: Refusal, status: int, again: dict[str, str] | None = None) -> ResponseReturnValue:
    """`again` are the fields of a form that makes the same preview anew."""
    headers = {"Retry-After": str(HOUR_SECONDS)} if status == 429 else {}
    page = render_template("billing/change_refused.html", team=current_team(), reason=reason, again=again)
    return page, status, headers
