"""To Stripe's checkout page and back. The way back proves nothing: the page waits for the mirror and says so."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.billing import checkout, checkout_status
from portal.billing.checkout import Buyer, CheckoutRefused, Order, ReturnAddresses
from portal.billing.checkout_status import CheckoutStatus
from portal.billing.gateway import GatewayError, gateway
from portal.billing.hosted_pages import is_hosted
from portal.billing.models import Checkout
from portal.billing.refusals import Refusal, gateway_trouble, refusal_of
from portal.billing.routes.overview import bp
from portal.catalog.queries import BundlePrice, PlanPrice, bundle_price_for, price_for
from portal.core.addresses import own_address
from portal.core.authz import Action
from portal.core.clock import now
from portal.core.ids import is_id
from portal.core.limits import Quota, limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import end_read
from portal.credits.bundle_grants import cause_key
from portal.credits.queries import balance, granted_for, period_credits_granted

SLOW_AFTER = timedelta(seconds=60)
BEGUN = Quota("checkouts", "5 per minute")
HOUR_SECONDS = 3600


def _this_person() -> str:
    return signed_in_user().id


def _this_team() -> str:
    return current_team().id


@bp.post("/teams/<team_id>/checkout")
@team_page(Action.BUY)
@limited(BEGUN, _this_person, _this_team)
def start_checkout() -> ResponseReturnValue:
    """The form only names what is wanted: a plan and its interval, or a bundle. Prices come from the catalog."""
    team, order = current_team(), _order()
    purpose = "plan" if isinstance(order.item, PlanPrice) else "bundle"
    buyer = Buyer(user_id=signed_in_user().id)
    end_read()
    try:
        address = checkout.start(gateway(), team, buyer, order, _addresses(team.id)).url
    except CheckoutRefused as refused:
        return _refused(*refusal_of(refused, team.id, purpose))
    except GatewayError as error:
        return _refused(gateway_trouble(error, team.id, purpose), 502)
    if not is_hosted(address):
        return _refused(gateway_trouble(GatewayError("the page's origin is not configured"), team.id, purpose), 502)
    return redirect(address, 303)


def _order() -> Order:
    """What the form asks for; 422 for what is not sold. Whatever else it holds is not looked at."""
    form = request.form
    wants_bundle, wants_plan = "bundle" in form, "plan" in form
    item: PlanPrice | BundlePrice | None = None
    if wants_bundle and not wants_plan:
        item = bundle_price_for(form["bundle"])
    elif wants_plan and not wants_bundle:
        item = price_for(form["plan"], form.get("interval", ""))
    if item is None or item.stripe_price_id is None:
        raise UnprocessableEntity("This cannot be bought here.")
    token = form.get("order", "")
    code = form.get("promotion_code", "").strip()
    return Order(item, token=token if is_id("ord", token) else None, promotion_code=code or None)


@bp.get("/teams/<team_id>/checkout/<checkout_id>")
@team_page(Action.BUY)
def checkout_return(checkout_id: str) -> str:
    return render_template("billing/checkout_return.html", **_status_context(checkout_id))


@bp.get("/teams/<team_id>/checkout/<checkout_id>/status", endpoint="checkout_status")
@team_page(Action.BUY)
def checkout_status_fragment(checkout_id: str) -> ResponseReturnValue:
    """The fragment that the page asks for while it waits; 204 while there is nothing new to say.

    The switcher comes along when the order is complete, since it names the plan.
    """
    context = _status_context(checkout_id)
    state = cast(CheckoutStatus, context["state"])
    if state.kind == request.args.get("seen"):
        return "", 204
    fragment = render_template("billing/_checkout_status.html", **context)
    if state.kind == "done":
        fragment += render_template("_layout/_switcher.html", swapped_along=True, **context)
    return fragment


def _status_context(checkout_id: str) -> dict[str, object]:
    team = current_team()
    visit = load_for(team.id, Checkout, checkout_id)
    canceled = request.args.get("canceled") == "1"
    slow = now() - visit.created_at > SLOW_AFTER
    return {
        "team": team,
        "state": checkout_status.read(visit, _granted(visit), canceled=canceled, slow=slow),
        "available": balance(team.id).available,
        "status_url": url_for("billing.checkout_status", team_id=team.id, checkout_id=visit.id),
        "overview_url": url_for("billing.overview", team_id=team.id),
    }


def _granted(visit: Checkout) -> int:
    """The credits that the team has been given for this checkout."""
    if visit.purpose == "bundle":
        return granted_for(visit.team_id, cause_key(visit))
    return period_credits_granted(visit.team_id, visit.subscription_stripe_id) if visit.subscription_stripe_id else 0


def _addresses(team_id: str) -> ReturnAddresses:
    """Made from the configured origin, never from what the request says its host is."""
    page = own_address("billing.checkout_return", team_id=team_id, checkout_id="CHECKOUT")
    success = page.removesuffix("CHECKOUT") + "{checkout_id}"
    return ReturnAddresses(success=success, cancel=success + "?canceled=1")


def _refused(reason: Refusal, status: int) -> ResponseReturnValue:
    headers = {"Retry-After": str(HOUR_SECONDS)} if status == 429 else {}
    return render_template("billing/checkout_refused.html", team=current_team(), reason=reason), status, headers
