"""The billing dashboard."""

from __future__ import annotations

from flask import Blueprint, render_template

from portal.accounts.access import current_membership, current_team, team_page
from portal.billing import overview as page
from portal.core.authz import Action, may
from portal.credits.queries import summary

bp = Blueprint("billing", __name__)


@bp.get("/teams/<team_id>/billing")
@team_page(Action.VIEW_BILLING)
def overview() -> str:
    team, role = current_team(), current_membership().role
    model = page.build(team, may_buy=may(role, Action.BUY), credit_summary=summary(team.id))
    return render_template("billing/overview.html", team=team, overview=model)
