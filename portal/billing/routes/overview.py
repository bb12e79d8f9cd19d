"""The billing dashboard."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from portal.accounts.access import current_membership, current_team, team_page
from portal.billing import overview as page
from portal.core.authz import Action, may
from portal.core.ids import new_id
from portal.credits import purchase_standing
from portal.credits.queries import summary
from portal.usage.first_notice import first_notice

# Every two seconds, while Stripe's news of what was done there is on its way.
LOOKS = 8

bp = Blueprint("billing", __name__)


@bp.get("/teams/<team_id>/billing")
@team_page(Action.VIEW_BILLING)
def overview() -> str:
    team, role = current_team(), current_membership().role
    present = summary(team.id)
    model = page.build(
        team,
        may_buy=may(role, Action.BUY),
        may_manage=may(role, Action.MANAGE_BILLING),
        may_change=may(role, Action.CHANGE_PLAN),
        credit_summary=present,
    )
    again, order = _looks_again(), new_id("ord")
    return render_template(
        "billing/overview.html",
        team=team,
        overview=model,
        auto_state=purchase_standing.state(team.id),
        looks_again=again,
        order=order,
        # One thing at a time: what has to be paid goes first.
        credit_state=first_notice(team.id, present) if model.banner is None else None,
    )


def _looks_again() -> int:
    """How often a page that was come back to from Stripe still looks for what was done there; 0 for any other page."""
    if request.args.get("back") != "stripe":
        return 0
    left = request.args.get("left", "")
    return min(int(left), LOOKS) if left.isdecimal() and left.isascii() and len(left) < 3 else LOOKS
