"""The switch in front of the pages, and what the frame of a page needs: teams with their plans, what a role allows."""

from __future__ import annotations

from flask import Flask, g, request, url_for
from flask_security import current_user
from werkzeug.local import LocalProxy

from portal.accounts.access import memberships_of, signed_in_user
from portal.accounts.models import Team
from portal.billing import switch
from portal.billing.feature_guard import team_has
from portal.billing.overview import plan_name_of
from portal.core.authz import Action, may
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    @app.before_request
    def hide_pages() -> None:
        switch.refuse_hidden_pages(request.blueprint, request.view_args)

    @app.context_processor
    def page_frame() -> dict[str, object]:
        # A proxy: pages that do not show the switcher (error pages above all) ask the database nothing.
        return {
            "my_teams": LocalProxy(_my_teams),
            "can": _can,
            "billing_open": switch.open_for,
            "team_home": _team_home,
            "has_feature": team_has,
        }


def _my_teams() -> list[tuple[Team, str]]:
    if not current_user.is_authenticated:
        return []
    memberships = memberships_of(signed_in_user())
    return [(membership.team, _plan_name(membership.team_id)) for membership in memberships]


def _plan_name(team_id: str) -> str:
    return plan_name_of(team_id) if switch.open_for(team_id) else ""


def _team_home(team_id: str) -> str:
    """Where a team's name leads: its overview, and the next best page of those it sees while billing is hidden."""
    if switch.open_for(team_id):
        return url_for("billing.overview", team_id=team_id)
    role = next(member.role for member in memberships_of(signed_in_user()) if member.team_id == team_id)
    if may(role, Action.VIEW_API_KEYS):
        return url_for("accounts.api_keys", team_id=team_id)
    return url_for("accounts.teams")


def _can(action: str) -> bool:
    membership = g.get("membership")
    return membership is not None and may(membership.role, action)
