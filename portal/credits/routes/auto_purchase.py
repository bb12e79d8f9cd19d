"""Auto-purchase: the page of its settings, turning it on, off and on again, and what is under way."""

from __future__ import annotations

from http import HTTPStatus

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_membership, current_team, readers_zone, signed_in_user, team_page
from portal.catalog.current import catalog
from portal.core.authz import Action, may
from portal.core.limits import Quota, limited
from portal.core.unit_of_work import run_in_unit
from portal.credits import purchase_page, purchase_rules
from portal.credits.auto_purchase import intend_if_low
from portal.credits.purchase_form import AutoPurchaseForm, filled_with
from portal.credits.purchase_rules import RuleRefused
from portal.credits.purchase_terms import Terms, agreed_words
from portal.credits.routes.credits_page import bp

CHANGED = Quota("auto-purchase", "60 per hour")
REFUSED = {
    "not_allowed": "The plan of this team does not include auto-purchase.",
    "not_offered": "Auto-purchase is not offered at the moment.",
    "not_sold": "The bundle is not sold automatically any more, or not with the credits and at the price you agreed to. Choose one below.",
    "no_card": "There is no saved card that could be charged. Save one first.",
    "too_many": "Too many payments were refused lately. We stop here to keep cards safe: try again tomorrow.",
    "off": "There is nothing to turn on again.",
}


def _this_person() -> str:
    return signed_in_user().id


@bp.get("/teams/<team_id>/credits/auto-purchase")
@team_page(Action.VIEW_BILLING)
def auto_purchase() -> ResponseReturnValue:
    return _page()


def _page(form: AutoPurchaseForm | None = None, status: int = 200, trouble: str | None = None) -> ResponseReturnValue:
    team = current_team()
    page, bundles = purchase_page.build(team), purchase_rules.choices(team.id)
    shown = render_template(
        "credits/auto_purchase.html",
        team=team,
        page=page,
        notice=purchase_page.notice(team, readers_zone()),
        form=form or (filled_with(page.rule, bundles) if bundles else None),
        may_buy=may(current_membership().role, Action.BUY),
        agreed_words=agreed_words(catalog().portal.name),
        trouble=trouble,
    )
    return shown, status


@bp.get("/teams/<team_id>/credits/auto-purchase/state")
@team_page(Action.VIEW_BILLING)
def auto_purchase_state() -> ResponseReturnValue:
    """The fragment that the page asks for while something is under way; 204 while there is nothing new to say."""
    team = current_team()
    notice = purchase_page.notice(team, readers_zone())
    if (notice.kind if notice else "none") == request.args.get("seen"):
        return "", HTTPStatus.NO_CONTENT
    may_buy = may(current_membership().role, Action.BUY)
    return render_template(
        "credits/_auto_purchase_state.html", team=team, notice=notice, may_buy=may_buy, ended=notice is None
    )


@bp.post("/teams/<team_id>/credits/auto-purchase")
@team_page(Action.BUY)
@limited(CHANGED, _this_person)
def turn_auto_purchase_on() -> ResponseReturnValue:
    """Turn it on, or change it: what is chosen is agreed to, each time."""
    team, user_id = current_team(), signed_in_user().id
    form = AutoPurchaseForm(purchase_rules.choices(team.id))
    if not form.validate_on_submit():
        return _page(form, HTTPStatus.UNPROCESSABLE_ENTITY)
    terms = form.terms
    try:
        begun = run_in_unit(lambda: _agree(team.id, user_id, terms))
    except RuleRefused as refused:
        return _refused(refused, form)
    first = " Fewer credits than that are left, so the first purchase has begun." if begun else ""
    return _done(f"Auto-purchase is on.{first}")


def _agree(team_id: str, user_id: str, terms: Terms) -> bool:
    purchase_rules.agree(team_id, user_id, terms)
    return intend_if_low(team_id)


@bp.post("/teams/<team_id>/credits/auto-purchase/removal")
@team_page(Action.BUY)
@limited(CHANGED, _this_person)
def turn_auto_purchase_off() -> ResponseReturnValue:
    team_id, user_id = current_team().id, signed_in_user().id
    was_on = run_in_unit(lambda: purchase_rules.turn_off(team_id, user_id))
    return _done(
        "Auto-purchase is off. Nothing more is bought by itself." if was_on else "Auto-purchase was off already."
    )


@bp.post("/teams/<team_id>/credits/auto-purchase/arming")
@team_page(Action.BUY)
@limited(CHANGED, _this_person)
def arm_auto_purchase() -> ResponseReturnValue:
    """Let it go on after it was stopped."""
    team_id, user_id = current_team().id, signed_in_user().id
    try:
        begun = run_in_unit(lambda: _arm(team_id, user_id))
    except RuleRefused as refused:
        return _refused(refused)
    first = " Too few credits are left, so a purchase has begun." if begun else ""
    return _done(f"Auto-purchase is on again.{first}")


def _arm(team_id: str, user_id: str) -> bool:
    purchase_rules.arm_again(team_id, user_id)
    return intend_if_low(team_id)


def _refused(refused: RuleRefused, form: AutoPurchaseForm | None = None) -> ResponseReturnValue:
    status = HTTPStatus.TOO_MANY_REQUESTS if refused.reason == "too_many" else HTTPStatus.CONFLICT
    return _page(form, status, f"{REFUSED[refused.reason]} Nothing was changed or charged.")


def _done(words: str) -> ResponseReturnValue:
    flash(words, "success")
    return redirect(url_for("credits.auto_purchase", team_id=current_team().id), HTTPStatus.SEE_OTHER)
