"""The credits page: what is left and where it came from, for how long it lasts, buying more, and the history."""

from __future__ import annotations

from datetime import UTC, timedelta

from flask import Blueprint, render_template, request

from portal.accounts.access import current_membership, current_team, team_page
from portal.billing.bundle_sale import bundles_allowed
from portal.billing.entitlements import effective
from portal.billing.list_filters import Filters, read_filters
from portal.catalog.current import catalog
from portal.catalog.pricing_page import bundles_text
from portal.core import clock
from portal.core.authz import Action, may
from portal.core.ids import new_id
from portal.core.times import month_end
from portal.credits import purchase_standing
from portal.credits.burn_down import burn_down
from portal.credits.held_credits import open_holds
from portal.credits.history import FILTER_LABELS, history
from portal.credits.lasting import lasting
from portal.credits.offers import chosen_of, offers
from portal.credits.owing import owed
from portal.credits.queries import summary
from portal.credits.undo_words import frozen_for
from portal.usage.first_notice import first_notice

bp = Blueprint("credits", __name__)

VERSION_DIGITS_MAX = 15
CHART_DAYS = 30
# Bundles and gifts that end within so many days are pointed out; that plan credits do is no news.
ENDS_SOON = timedelta(days=14)


@bp.get("/teams/<team_id>/credits", endpoint="credits")
@team_page(Action.VIEW_BILLING)
def credits_page() -> str:
    team, now = current_team(), clock.now()
    present, for_sale = summary(team.id), offers(team.id)
    only = request.args.get("kind")
    days = _days()
    return render_template(
        "credits/credits.html",
        team=team,
        credits=present,
        state=first_notice(team.id, present),
        lasting=lasting(team.id, present),
        chart=burn_down(team.id, now.astimezone(UTC).date() - timedelta(days=CHART_DAYS - 1), now, present),
        ending=[grant for grant in present.grants if grant.ends_within(ENDS_SOON, now)],
        spend_order=catalog().spend_order,
        holds=open_holds(team.id),
        auto_state=purchase_standing.state(team.id),
        meter_names={meter.key: meter.name for meter in catalog().meters},
        owing=owed(team.id, present.debt),
        held_back=frozen_for(team.id) if present.frozen else [],
        frozen=effective(team.id).credits_frozen,
        may_buy=may(current_membership().role, Action.BUY),
        allowed=bundles_allowed(team.id),
        offers=for_sale,
        chosen=chosen_of(for_sale, request.args.get("bundle")),
        more_from=month_end(now),
        # What makes two presses of the button one order: a page that is loaded anew begins a new one.
        order=new_id("ord"),
        bundles_text=bundles_text(catalog()),
        refund_text=catalog().portal.refund_text,
        takes_codes=catalog().checkout.promotion_codes,
        history=history(team.id, only, before=_version("before"), after=_version("after"), days=days),
        days=days,
        kinds=FILTER_LABELS,
        only=only if only in FILTER_LABELS else None,
    )


def _days() -> Filters:
    """The days the history is narrowed to, in the team's zone, as in every list. Raises `UnprocessableEntity`."""
    return read_filters({name: request.args.get(name, "") for name in ("since", "until")}, current_team().time_zone)


def _version(name: str) -> int | None:
    """A version from the address; anything else there is as good as nothing."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX else None
