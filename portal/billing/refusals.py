"""Why a checkout did not start, in words for the person who wanted it: what happened, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import structlog
from flask import url_for

from portal.billing.checkout_order import CheckoutRefused
from portal.billing.gateway import GatewayError, InFlight, RateLimited, Unavailable

log = structlog.get_logger(__name__)

OVERVIEW = "Go to the overview"

WORDS = {
    "subscribed": (
        "The team already has a plan",
        "A team has one plan at a time. Nothing was charged and nothing has changed.",
    ),
    "customer_deleted": (
        "The team's customer at Stripe was deleted",
        "So nothing can be bought for this team. Nothing was charged and nothing has changed. Write to us.",
    ),
    "paid": (
        "A checkout of this team was paid just now",
        "Its plan starts as soon as Stripe confirms it, usually within 5 seconds. Nothing more was charged.",
    ),
    "replaced": (
        "Somebody in the team opened a newer checkout",
        "Only the newest one can be paid, so that the team is not charged twice. Nothing was charged here.",
    ),
    "ordered": (
        "This order has been paid already",
        "The button was pressed again after the payment. Nothing more was charged.",
    ),
    "no_bundles": (
        "The team's plan has no bundles",
        "Bundles come with larger plans. Nothing was charged. Choose a plan that has them, or one with more credits.",
    ),
    "none_left": (
        "The team has bought this bundle as often as it may this month",
        "Payment pages that are still open count. Nothing was charged. Choose another bundle, or wait for the next month.",
    ),
    "too_many": (
        "Too many checkouts were begun and not paid",
        "We stop here to keep cards safe. Nothing was charged. Pay on a page that is still open, or try again in an hour.",
    ),
    "too_many_codes": (
        "Too many promotion codes were tried that do not work",
        "Nothing was charged. Go on without a code, or try again in an hour.",
    ),
    "code_unknown": (
        "There is no such promotion code",
        "Nothing was charged. Check the spelling, or go on without a code.",
    ),
    "code_ended": (
        "This promotion code has ended",
        "It has expired or was used as often as it may be. Nothing was charged. Go on without it, or try another one.",
    ),
    "code_not_applicable": (
        "This promotion code does not fit this order",
        "It may be meant for something else or for new customers. Nothing was charged. Go on without it.",
    ),
}
STATUSES = {
    "no_bundles": HTTPStatus.FORBIDDEN,
    "too_many": HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_codes": HTTPStatus.TOO_MANY_REQUESTS,
    "code_unknown": HTTPStatus.UNPROCESSABLE_ENTITY,
    "code_ended": HTTPStatus.UNPROCESSABLE_ENTITY,
    "code_not_applicable": HTTPStatus.UNPROCESSABLE_ENTITY,
}


@dataclass(frozen=True)
class Refusal:
    title: str
    text: str
    action_label: str
    action_url: str
    tone: str = "warn"


def refusal_of(refused: CheckoutRefused, team_id: str, purpose: str) -> tuple[Refusal, int]:
    """What to say, and with which status. `purpose` (plan or bundle) says where the person came from."""
    title, text = WORDS[refused.reason]
    label, address = _way_out(refused, team_id, purpose)
    return Refusal(title, text, label, address), STATUSES.get(refused.reason, HTTPStatus.CONFLICT)


def _way_out(refused: CheckoutRefused, team_id: str, purpose: str) -> tuple[str, str]:
    if refused.checkout_id is not None:
        address = url_for("billing.checkout_return", team_id=team_id, checkout_id=refused.checkout_id)
        return "See what was bought", address
    if refused.reason == "no_bundles":
        return back_to("plan", team_id)
    if refused.reason.startswith("code_") or refused.reason in ("too_many_codes", "none_left"):
        return back_to(purpose, team_id)
    return OVERVIEW, url_for("billing.overview", team_id=team_id)


def back_to(purpose: str, team_id: str) -> tuple[str, str]:
    """The page that orders of this kind come from: its name on a button, and its address."""
    if purpose == "bundle":
        return "Back to the credits", url_for("credits.credits", team_id=team_id)
    return "Back to the plans", url_for("catalog.pricing", team=team_id)


def gateway_trouble(error: GatewayError, team_id: str, purpose: str) -> Refusal:
    label, address = back_to(purpose, team_id)
    if isinstance(error, Unavailable | RateLimited | InFlight):
        return Refusal(
            "Stripe cannot be reached right now",
            "The payment page did not open. Nothing was charged. Try again in a minute.",
            label,
            address,
        )
    log.error("checkout_refused_by_stripe", code=error.code)
    return Refusal(
        "Stripe did not open a payment page",
        "Something about this order is not set up right on our side; we have been told. Nothing was charged.",
        label,
        address,
        "bad",
    )
