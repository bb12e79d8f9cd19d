"""Whether billing is on, for the whole instance and for one team: the one place that decides.

`BILLING_ENABLED=false` hides the pages and keeps Stripe's events as held; `BILLING_ROLLOUT` hides the pages from the
teams outside it. Neither changes what anybody owns: credits are granted, spent and read as ever.
"""

from __future__ import annotations

from typing import Any

from flask import current_app
from werkzeug.exceptions import NotFound

from portal.core.error_words import ErrorWords
from portal.settings import Settings

# The pages that are hidden, by their blueprints. A test asks that every blueprint stands in one of the two.
BILLING_PAGES = frozenset({"billing", "credits", "usage", "payments"})
OTHER_PAGES = frozenset(
    {
        "accounts",
        "api",
        "api-docs",
        "api_billing",
        "api_credits",
        "api_sessions",
        "api_usage",
        "bundles",
        "catalog",
        "exports",  # which shows the lists of billing only where billing is open
        "health",
        "inbox",
        "metrics",
        "notifications",
        "security",
        "webhooks",
    }
)

# API keys with these scopes lead a person to a page where money moves.
SELLING_SCOPES = frozenset({"checkout:write", "portal:write"})


class BillingOff(NotFound):
    """The pages are hidden for everybody; somebody who has just paid must not be left with a bare 404."""

    words = ErrorWords(
        "Billing is closed at the moment",
        "Plans, credits and payments cannot be opened right now. Nothing is lost: what you have paid is safe and will show here.",
        "Come back later, or ask the people who run this service.",
    )


def billing_is_on() -> bool:
    return _settings().billing_enabled


def open_for(team_id: str) -> bool:
    """Whether this team sees billing."""
    return billing_is_on() and _settings().billing_rollout.includes(team_id)


def open_for_newcomers() -> bool:
    """Whether a team that does not exist yet may come to see billing."""
    return billing_is_on() and _settings().billing_rollout.percent > 0


def refuse_hidden_pages(blueprint: str | None, values: dict[str, Any] | None) -> None:
    """Raise 404 for a page of billing that is hidden. A team outside the roll-out cannot tell that there is one."""
    if blueprint not in BILLING_PAGES:
        return
    if not billing_is_on():
        raise BillingOff
    team_id = (values or {}).get("team_id")
    if team_id is not None and not open_for(team_id):
        raise NotFound


def _settings() -> Settings:
    settings: Settings = current_app.config["SETTINGS"]
    return settings
