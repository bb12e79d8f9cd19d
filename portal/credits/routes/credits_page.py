"""The credits page: what is left and where it came from, buying more, and the history."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from portal.accounts.access import current_membership, current_team, team_page
from portal.billing.bundle_sale import bundles_allowed, bundles_for
from portal.billing.entitlements import effective
from portal.catalog.current import catalog
from portal.catalog.pricing_page import bundles_text
from portal.core.authz import Action, may
from portal.core.ids import new_id
from portal.credits.history import FILTER_LABELS, history
from portal.credits.offers import offers
from portal.credits.queries import summary

bp = Blueprint("credits", __name__)
BLUEPRINTS = [bp]

VERSION_DIGITS_MAX = 15


@bp.get("/teams/<team_id>/credits", endpoint="credits")
@team_page(Action.VIEW_BILLING)
def credits_page() -> str:
    team = current_team()
    only = request.args.get("kind")
    return render_template(
        "credits/credits.html",
        team=team,
        credits=summary(team.id),
        frozen=effective(team.id).credits_frozen,
        may_buy=may(current_membership().role, Action.BUY),
        allowed=bundles_allowed(team.id),
        offers=offers(bundles_for(team.id)),
        chosen=request.args.get("bundle"),
        # What makes two presses of the button one order: a page that is loaded anew begins a new one.
        order=new_id("ord"),
        bundles_text=bundles_text(catalog()),
        refund_text=catalog().portal.refund_text,
        takes_codes=catalog().checkout.promotion_codes,
        history=history(team.id, only, before=_version("before"), after=_version("after")),
        kinds=FILTER_LABELS,
        only=only if only in FILTER_LABELS else None,
    )


def _version(name: str) -> int | None:
    """A version from the address; anything else there is as good as nothing."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX else None
