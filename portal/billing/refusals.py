"""Why a checkout did not start, in words for the person who wanted it: what happened, and the way out."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from flask import url_for

from portal.billing.gateway import GatewayError, InFlight, RateLimited, Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Refusal:
    title: str
    text: str
    action_label: str
    action_url: str
    tone: str = "warn"


def refusal_of(reason: str, team_id: str) -> Refusal:
    overview = url_for("billing.overview", team_id=team_id)
    words = {
        "subscribed": (
            "The team already has a plan",
            "A team has one plan at a time. Nothing was charged and nothing has changed.",
        ),
        "paid": (
            "A checkout of this team was paid just now",
            "Its plan starts as soon as Stripe confirms it, usually within 5 seconds. Nothing more was charged.",
        ),
        "replaced": (
            "Somebody in the team opened a newer checkout",
            "Only the newest one can be paid, so that the team is not charged twice. Nothing was charged here.",
        ),
    }
    title, text = words[reason]
    return Refusal(title, text, "Go to the overview", overview)


def gateway_trouble(error: GatewayError, team_id: str) -> Refusal:
    pricing = url_for("catalog.pricing", team=team_id)
    if isinstance(error, Unavailable | RateLimited | InFlight):
        return Refusal(
            "Stripe cannot be reached right now",
            "The payment page did not open. Nothing was charged. Try again in a minute.",
            "Back to the plans",
            pricing,
        )
    log.error("checkout_refused_by_stripe", code=error.code)
    return Refusal(
        "Stripe did not open a payment page",
        "Something about this order is not set up right on our side; we have been told. Nothing was charged.",
        "Back to the plans",
        pricing,
        "bad",
    )
