"""The seats of a team: how many there are and are taken, and having more or fewer of them by the same contract."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, team_page
from portal.billing.change_rules import Wish
from portal.billing.routes.overview import bp
from portal.billing.routes.plan import PREVIEWED, make_preview, number_of, this_person
from portal.billing.seats_page import seats_page
from portal.core.authz import Action
from portal.core.limits import limited


@bp.get("/teams/<team_id>/seats")
@team_page(Action.CHANGE_PLAN)
def seats() -> str:
    team = current_team()
    return render_template("billing/seats.html", team=team, page=seats_page(team.id))


@bp.post("/teams/<team_id>/seats/previews")
@team_page(Action.CHANGE_PLAN)
@limited(PREVIEWED, this_person)
def preview_seats() -> ResponseReturnValue:
    """The form names all seats that there are to be."""
    wanted = number_of(request.form.get("seats", ""))
    if wanted is None:
        page = seats_page(current_team().id, error="Enter a whole number of seats.")
        return render_template("billing/seats.html", team=current_team(), page=page), 422
    return make_preview(Wish(kind="seats", seats=wanted))
