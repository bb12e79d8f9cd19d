"""Why the customer portal did not open, in words: what happened, what was not changed, and the way out."""

from __future__ import annotations

import structlog
from flask import url_for

from portal.billing.gateway import GatewayError, InFlight, RateLimited, Unavailable
from portal.billing.refusals import Refusal

log = structlog.get_logger(__name__)

UNCHANGED = "Nothing was charged and nothing has changed."


def portal_refusal(reason: str, team_id: str) -> Refusal:
    """What to say when there is nothing to open."""
    overview = url_for("billing.overview", team_id=team_id)
    if reason == "no_customer":
        text = "Cards, invoices and cancelling are managed at Stripe, which knows the team from its first order on."
        return Refusal(
            "There is nothing to manage yet", text, "See the plans", url_for("catalog.pricing", team=team_id), "info"
        )
    words = {
        "customer_deleted": (
            "The team's customer at Stripe was deleted",
            f"So there is nothing left to manage there. {UNCHANGED} Write to us.",
        ),
        "no_plan": ("The team has no plan to cancel", f"It is on no paid plan. {UNCHANGED}"),
        "ending": ("The plan is canceled already", f"It ends at the end of its period. {UNCHANGED}"),
    }
    title, text = words[reason]
    return Refusal(title, text, "Go to the overview", overview)


def portal_trouble(error: GatewayError, team_id: str) -> Refusal:
    """What to say when Stripe did not open it."""
    overview = url_for("billing.overview", team_id=team_id)
    if isinstance(error, Unavailable | RateLimited | InFlight):
        text = f"Its page did not open. {UNCHANGED} Try again in a minute."
        return Refusal("Stripe cannot be reached right now", text, "Back to the overview", overview)
    log.error("portal_refused_by_stripe", code=error.code)
    text = f"Something is not set up right on our side; we have been told. {UNCHANGED}"
    return Refusal("Stripe did not open its page", text, "Back to the overview", overview, "bad")
