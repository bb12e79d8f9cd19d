"""What the frame of a signed-in page needs: the person's teams with their plans, and what their role allows."""

from __future__ import annotations

from flask import Flask, g
from flask_security import current_user
from werkzeug.local import LocalProxy

from portal.accounts.access import memberships_of, signed_in_user
from portal.accounts.models import Team
from portal.billing.overview import plan_name_of
from portal.core.authz import may
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    @app.context_processor
    def page_frame() -> dict[str, object]:
        # A proxy: pages that do not show the switcher (error pages above all) ask the database nothing.
        return {"my_teams": LocalProxy(_my_teams), "can": _can}


def _my_teams() -> list[tuple[Team, str]]:
    if not current_user.is_authenticated:
        return []
    return [(membership.team, plan_name_of(membership.team_id)) for membership in memberships_of(signed_in_user())]


def _can(action: str) -> bool:
    membership = g.get("membership")
    return membership is not None and may(membership.role, action)
