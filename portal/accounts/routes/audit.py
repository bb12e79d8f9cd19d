"""The page of a team's audit trail, for its owners."""

from __future__ import annotations

from flask import abort, render_template, request

from portal.accounts.access import current_team, readers_zone, team_page
from portal.accounts.audit_log import choices_of_team, page_of_team
from portal.accounts.exports import audit_filters
from portal.accounts.routes.people import bp
from portal.core.authz import Action
from portal.core.ids import is_id

__all__ = ["bp"]


@bp.get("/teams/<team_id>/audit")
@team_page(Action.VIEW_AUDIT)
def audit() -> str:
    team = current_team()
    actions, actors = choices_of_team(team.id)
    page = page_of_team(
        team.id, audit_filters(request.args, readers_zone()), before=_cursor("before"), after=_cursor("after")
    )
    asked = {name: request.args[name] for name in ("action", "actor", "since", "until") if request.args.get(name)}
    return render_template("accounts/audit.html", team=team, page=page, actions=actions, actors=actors, asked=asked)


def _cursor(name: str) -> str | None:
    text = request.args.get(name)
    if text and not is_id("audit", text):
        abort(400)
    return text or None
