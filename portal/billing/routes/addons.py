"""The add-ons of a team: what is sold beside its plan, and having more or fewer of them by the same contract."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, team_page
from portal.billing.addons import addons_page
from portal.billing.change_rules import Wish
from portal.billing.routes.overview import bp
from portal.billing.routes.plan import PREVIEWED, make_preview, number_of, this_person
from portal.core.authz import Action
from portal.core.limits import limited


@bp.get("/teams/<team_id>/addons")
@team_page(Action.CHANGE_PLAN)
def addons() -> str:
    team = current_team()
    return render_template("billing/addons.html", team=team, page=addons_page(team.id))


@bp.post("/teams/<team_id>/addons/previews")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def preview_addon() -> ResponseReturnValue:
    """The form names an add-on and how many of it there are to be; 0 takes it away."""
    key, text = request.form.get("addon", ""), request.form.get("quantity", "").strip()
    quantity = 0 if text == "0" else number_of(text)
    if quantity is None:
        page = addons_page(current_team().id, wrong=key)
        return render_template("billing/addons.html", team=current_team(), page=page), 422
    return make_preview(Wish(kind="addon", addon_key=key, quantity=quantity))
