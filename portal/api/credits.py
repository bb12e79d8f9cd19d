"""Reading what a team has left."""

from __future__ import annotations

from typing import Any

from flask import current_app

from portal.accounts.api_keys import Scope
from portal.api.authentication import caller
from portal.api.blueprint import ApiBlueprint
from portal.api.moments import maybe_rfc3339, rfc3339
from portal.api.schemas.credits import CreditsAnswer
from portal.billing.entitlements import effective
from portal.credits.queries import Grant, summary

bp = ApiBlueprint("api_credits", __name__, description="What your customers have left")


@bp.get("/credits")
@bp.operation(Scope.CREDITS_READ)
@bp.response(200, CreditsAnswer, description="The team's credits.")
def read_credits() -> dict[str, Any]:
    """Read the credits

    What can be spent now, and the grants it comes from in the order in which they are spent, then those to come.
    """
    return credits_of(caller().team_id)


def credits_of(team_id: str) -> dict[str, Any]:
    found = summary(team_id)
    return {
        "object": "credits",
        "available": found.available,
        "frozen": effective(team_id).credits_frozen,
        "reserved": found.reserved,
        "disputed": found.frozen,
        "debt": found.debt,
        "grants": [_grant(grant) for grant in found.grants],
        "livemode": current_app.config["SETTINGS"].livemode,
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "object": "grant",
        "kind": grant.kind,
        "source": grant.source,
        "amount": grant.amount,
        "remaining": grant.remaining,
        "held": grant.held,
        "disputed": grant.frozen,
        "effective_at": rfc3339(grant.effective_at),
        "expires_at": maybe_rfc3339(grant.expires_at),
    }
