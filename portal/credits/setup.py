"""Credits begin when a person has shown that the address is theirs, not before: nobody farms them with made-up mail."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_security.signals import user_confirmed

from portal.accounts.access import memberships_of
from portal.accounts.models import User
from portal.catalog.queries import free_plan
from portal.core.authz import Role
from portal.credits.free_plan import grant_free_period
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    app.config["SPEND_ORDER"] = app.extensions["catalog"].spend_order
    user_confirmed.connect(_on_confirmed, app)


def _on_confirmed(_app: Flask, user: User, **_extra: Any) -> None:
    """The free plan's first month, in the unit that confirms the address; the schedule grants the later ones."""
    plan = free_plan()
    if plan is None:
        return
    for membership in memberships_of(user):
        if membership.role == Role.OWNER:
            grant_free_period(membership.team, plan.credits_monthly or 0)
