"""The public pages: prices, the front door, and the seller's colour as a stylesheet."""

from __future__ import annotations

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import current_user

from portal.accounts.access import memberships_of, signed_in_user
from portal.accounts.models import Membership
from portal.billing import switch
from portal.billing.models import Subscription
from portal.billing.subscriptions import live_subscription
from portal.billing.trial_uses import trial_used
from portal.catalog.current import catalog
from portal.catalog.pricing_page import Choice, OnSale, Viewer, build
from portal.catalog.queries import plan_prices_on_sale
from portal.core.authz import Action, may

bp = Blueprint("catalog", __name__)
BLUEPRINTS = [bp]

ACCENT_SECONDS = 300


@bp.get("/")
def home() -> ResponseReturnValue:
    return redirect(url_for("accounts.teams" if current_user.is_authenticated else "catalog.pricing"))


@bp.get("/pricing")
def pricing() -> Response:
    membership = _membership()
    page = build(catalog(), viewer(membership), _choice(), _on_sale(), _sign_up_url)
    team = membership.team if membership else None
    answer = make_response(render_template("catalog/pricing.html", page=page, team=team))
    # The page of a signed-in person is theirs alone; the other one may be kept, but is asked for anew.
    answer.headers["Cache-Control"] = "no-store" if current_user.is_authenticated else "no-cache"
    answer.vary.add("Cookie")
    return answer


@bp.get("/accent.css")
def accent_css() -> Response:
    """The one brand colour; the catalog's reader has made sure that it is nothing but a colour."""
    answer = Response(f":root {{ --tp-accent: {catalog().portal.accent}; }}\n", mimetype="text/css")
    answer.headers["Cache-Control"] = f"public, max-age={ACCENT_SECONDS}"
    answer.add_etag()
    answer.make_conditional(request)
    return answer


def viewer(membership: Membership | None) -> Viewer:
    """What the page has to know of who looks at it."""
    if membership is None:
        return Viewer(signed_in=bool(current_user.is_authenticated), closed=not switch.open_for_newcomers())
    if not switch.open_for(membership.team_id):
        return Viewer(signed_in=True, closed=True)
    subscription = live_subscription(membership.team_id)
    free = next((plan.key for plan in catalog().plans if plan.kind == "free"), None)
    return Viewer(
        signed_in=True,
        plan_key=subscription.plan_key if subscription else free,
        interval=subscription.interval if subscription else None,
        subscribed=subscription is not None,
        may_buy=may(membership.role, Action.BUY),
        checkout_url=url_for("billing.start_checkout", team_id=membership.team_id),
        change_url=_change_url(membership, subscription),
        trial_used=subscription is None and trial_used(membership.team_id, membership.user_id),
    )


def _change_url(membership: Membership, subscription: Subscription | None) -> str | None:
    """Where a change of plan is looked at; None for a plan that is none of the catalog's, and for who may not change it."""
    if subscription is None or subscription.plan_key is None or not may(membership.role, Action.CHANGE_PLAN):
        return None
    return url_for("billing.preview_change", team_id=membership.team_id)


def _membership() -> Membership | None:
    """The team that would buy: the one in the address, else the person's first; 404 when it is not theirs."""
    if not current_user.is_authenticated:
        return None
    memberships = memberships_of(signed_in_user())
    wanted = request.args.get("team")
    if wanted is None:
        return memberships[0] if memberships else None
    found = next((membership for membership in memberships if membership.team_id == wanted), None)
    if found is None:
        abort(404)
    return found


def _choice() -> Choice:
    yearly = request.args.get("interval") == "year"
    return Choice(interval="year" if yearly else "month", plan_key=request.args.get("plan"))


def _on_sale() -> OnSale:
    return frozenset((price.plan_key, price.interval, price.unit_amount_cents) for price in plan_prices_on_sale())


def _sign_up_url(plan_key: str, interval: str) -> str:
    """Sign-up that leads back here, with the plan remembered."""
    return url_for("security.register", next=url_for("catalog.pricing", plan=plan_key, interval=interval))
