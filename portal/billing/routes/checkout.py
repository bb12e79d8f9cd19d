"""To Stripe's checkout page and back. The way back proves nothing: the page waits for the mirror and says so."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.billing import checkout, checkout_status
from portal.billing.checkout import CheckoutRefused, ReturnAddresses
from portal.billing.checkout_status import CheckoutStatus
from portal.billing.gateway import GatewayError, gateway
from portal.billing.hosted_pages import is_hosted
from portal.billing.models import Checkout
from portal.billing.refusals import Refusal, gateway_trouble, refusal_of
from portal.billing.routes.overview import bp
from portal.catalog.queries import price_for
from portal.core.authz import Action
from portal.core.clock import now
from portal.core.tenancy import load_for
from portal.core.unit_of_work import end_read
from portal.credits.queries import period_credits_granted

SLOW_AFTER = timedelta(seconds=60)


@bp.post("/teams/<team_id>/checkout")
@team_page(Action.BUY)
def start_checkout() -> ResponseReturnValue:
    """Only the plan's key and the interval are taken from the form: prices come from the catalog."""
    team, user = current_team(), signed_in_user()
    price = price_for(request.form.get("plan", ""), request.form.get("interval", ""))
    if price is None or price.stripe_price_id is None:
        raise UnprocessableEntity("This plan cannot be bought here.")
    end_read()
    try:
        address = checkout.start(gateway(), team, user.id, price, _addresses(team.id))
    except CheckoutRefused as error:
        return _refused(refusal_of(error.reason, team.id), 409)
    except GatewayError as error:
        return _refused(gateway_trouble(error, team.id), 502)
    if not is_hosted(address):
        return _refused(gateway_trouble(GatewayError("the page's origin is not configured"), team.id), 502)
    return redirect(address, 303)


@bp.get("/teams/<team_id>/checkout/<checkout_id>")
@team_page(Action.BUY)
def checkout_return(checkout_id: str) -> str:
    return render_template("billing/checkout_return.html", **_status_context(checkout_id))


@bp.get("/teams/<team_id>/checkout/<checkout_id>/status", endpoint="checkout_status")
@team_page(Action.BUY)
def checkout_status_fragment(checkout_id: str) -> ResponseReturnValue:
    """The fragment that the page asks for while it waits; 204 while there is nothing new to say."""
    context = _status_context(checkout_id)
    state = cast(CheckoutStatus, context["state"])
    if state.kind == request.args.get("seen"):
        return "", 204
    return render_template("billing/_checkout_status.html", **context)


def _status_context(checkout_id: str) -> dict[str, object]:
    team = current_team()
    visit = load_for(team.id, Checkout, checkout_id)
    granted = period_credits_granted(team.id, visit.subscription_stripe_id) if visit.subscription_stripe_id else 0
    canceled = request.args.get("canceled") == "1"
    slow = now() - visit.created_at > SLOW_AFTER
    return {
        "team": team,
        "state": checkout_status.read(visit, granted, canceled=canceled, slow=slow),
        "status_url": url_for("billing.checkout_status", team_id=team.id, checkout_id=visit.id),
        "overview_url": url_for("billing.overview", team_id=team.id),
    }


def _addresses(team_id: str) -> ReturnAddresses:
    """Made from the configured origin, never from what the request says its host is."""
    path = url_for("billing.checkout_return", team_id=team_id, checkout_id="CHECKOUT")
    success = current_app.config["SETTINGS"].base_url + path.replace("CHECKOUT", "{checkout_id}")
    return ReturnAddresses(success=success, cancel=success + "?canceled=1")


def _refused(reason: Refusal, status: int) -> ResponseReturnValue:
    return render_template("billing/checkout_refused.html", team=current_team(), reason=reason), status
