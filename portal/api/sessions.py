"""Opening the pages at Stripe where a person pays, or manages what was bought; the answer says where they are."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Response, current_app

from portal.accounts import audit
from portal.accounts.api_keys import Scope
from portal.accounts.models import Team
from portal.api.authentication import caller
from portal.api.blueprint import BODY_ERRORS, ApiBlueprint
from portal.api.limits import PAGES, count_for_team
from portal.api.once import REPLAYED_HEADER, RefusedElsewhere, once
from portal.api.schemas.common import IdempotencyHeaders
from portal.api.schemas.errors import ErrorAnswer
from portal.api.schemas.sessions import (
    CheckoutSessionAnswer,
    CheckoutSessionRequest,
    PortalSessionAnswer,
    PortalSessionRequest,
)
from portal.billing import checkout, customer_portal
from portal.billing.checkout_order import Buyer, CheckoutRefused, Order, ReturnAddresses
from portal.billing.customer_portal import PortalRefused
from portal.billing.gateway import (
    CardDeclined,
    GatewayError,
    InFlight,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
    gateway,
)
from portal.billing.hosted_pages import is_hosted
from portal.billing.refusals import WORDS
from portal.catalog.queries import BundlePrice, PlanPrice, bundle_price_for, price_for
from portal.core.addresses import own_address
from portal.core.errors import ApiError
from portal.core.redirects import leads_to
from portal.core.unit_of_work import end_read, unit_of_work

bp = ApiBlueprint("api_sessions", __name__, description="Where your customers pay, and manage what they bought")

HOUR_SECONDS = 3600
# Stripe has answered, and there is no page.
REFUSED_BY_STRIPE = (InvalidRequest, NotFound, CardDeclined, Unauthenticated)
ERRORS = (*BODY_ERRORS, HTTPStatus.BAD_GATEWAY)
# By the reason of a refusal: status, type and code of the error.
REFUSALS = {
    "subscribed": (409, "invalid_request_error", "already_subscribed"),
    "customer_deleted": (409, "invalid_request_error", "customer_deleted"),
    "paid": (409, "invalid_request_error", "checkout_paid"),
    "ordered": (409, "invalid_request_error", "checkout_paid"),
    "replaced": (409, "invalid_request_error", "checkout_replaced"),
    "no_bundles": (403, "permission_error", "bundles_not_included"),
    "none_left": (409, "invalid_request_error", "bundle_limit_reached"),
    "too_many": (429, "rate_limit_error", "too_many_checkouts"),
    "too_many_codes": (429, "rate_limit_error", "too_many_promotion_codes"),
    "code_unknown": (422, "invalid_request_error", "promotion_code_invalid"),
    "code_ended": (422, "invalid_request_error", "promotion_code_invalid"),
    "code_not_applicable": (422, "invalid_request_error", "promotion_code_invalid"),
}
PORTAL_REFUSALS = {
    "no_customer": ("no_customer", "The team has never ordered anything, so Stripe has nothing to show of it yet."),
    "customer_deleted": (
        "customer_deleted",
        "The team's customer at Stripe was deleted, so there is nothing left to show of it.",
    ),
    "no_plan": ("no_subscription", "The team is on no paid plan, so there is nothing to cancel."),
    "ending": ("already_canceled", "The plan is canceled already; it ends at the end of its period."),
}


@bp.post("/checkout-sessions")
@bp.operation(Scope.CHECKOUT_WRITE, *ERRORS)
@bp.alt_response(
    409,
    schema=ErrorAnswer,
    description="The key stands for another request or is at work, or the team has a plan or has just paid.",
)
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(CheckoutSessionRequest)
@bp.response(200, CheckoutSessionAnswer, description="The page is open.", headers=REPLAYED_HEADER)
@once
def create_checkout_session(try_id: str, fields: dict[str, Any]) -> Response:
    """Open a checkout page

    For a plan or a bundle, at the price of the catalog. Send the person's browser to the `url`. A team has one checkout
    for a plan at a time: a new one closes the page of the last. What was bought is granted when Stripe says that it was
    paid, which the return of the browser does not prove.
    """
    team, buyer = caller().team, Buyer(api_key_id=caller().key_id)
    order = Order(_item(fields), token=try_id, promotion_code=fields.get("promotion_code"))
    addresses = _addresses(team, fields)
    count_for_team(PAGES, team.id)
    end_read()
    try:
        started = checkout.start(gateway(), team, buyer, order, addresses)
    except CheckoutRefused as refused:
        _refuse(refused)
    except GatewayError as error:
        _no_page(error)
    return _page("checkout_session", started.checkout_id, started.url)


@bp.post("/portal-sessions")
@bp.operation(Scope.PORTAL_WRITE, *ERRORS)
@bp.alt_response(
    409,
    schema=ErrorAnswer,
    description="The key stands for another request or is at work, or Stripe has nothing to show of the team.",
)
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(PortalSessionRequest)
@bp.response(200, PortalSessionAnswer, description="The portal is open.", headers=REPLAYED_HEADER)
@once
def create_portal_session(try_id: str, fields: dict[str, Any]) -> Response:
    """Open the customer portal

    Stripe's page where the team changes its card, cancels or resumes its plan and finds its invoices. Whoever has the
    `url` may do all that, so give it to people of the team who may; it is good for some minutes.
    """
    team, flow = caller().team, fields.get("flow")
    return_url = _allowed("return_url", fields["return_url"])
    count_for_team(PAGES, team.id)
    try:
        session = customer_portal.open_session(gateway(), team, return_url=return_url, flow=flow, key=try_id)
    except PortalRefused as refused:
        code, message = PORTAL_REFUSALS[refused.reason]
        raise ApiError(409, "invalid_request_error", code, message) from refused
    except GatewayError as error:
        _no_page(error)
    with unit_of_work():
        audit.record(audit.by_key(caller().key_id), "portal.opened", team_id=team.id, flow=flow)
    return _page("portal_session", session["id"], session["url"])


def _item(fields: dict[str, Any]) -> PlanPrice | BundlePrice:
    """What is ordered, at the catalog's price; nothing of the price comes from the request."""
    item: PlanPrice | BundlePrice | None
    if "bundle" in fields:
        item, param = bundle_price_for(fields["bundle"]), "bundle"
    else:
        item, param = price_for(fields["plan"], fields["interval"]), "plan"
    if item is None or item.stripe_price_id is None:
        message = f"{param}: The catalog does not sell this. Plans for free or by quote have no checkout."
        raise ApiError(422, "invalid_request_error", "not_for_sale", message, param=param)
    return item


def _addresses(team: Team, fields: dict[str, Any]) -> ReturnAddresses:
    page = own_address("billing.checkout_return", team_id=team.id, checkout_id="CHECKOUT")
    own = page.removesuffix("CHECKOUT") + "{checkout_id}"
    given = {
        name: _allowed(name, fields[name]).replace("{", "{{").replace("}", "}}")
        for name in ("success_url", "cancel_url")
        if name in fields
    }
    return ReturnAddresses(success=given.get("success_url", own), cancel=given.get("cancel_url", own + "?canceled=1"))


def _allowed(name: str, address: str) -> str:
    settings = current_app.config["SETTINGS"]
    if not leads_to(address, (settings.base_url, *settings.return_origins)):
        message = f"{name}: Must be an address on an origin that is allowed: this portal's, or one of RETURN_ORIGINS."
        raise ApiError(422, "invalid_request_error", "address_not_allowed", message, param=name)
    return address


def _page(kind: str, session_id: str, address: str) -> Response:
    """The answer. A page on an origin that is not configured is not handed out: nobody should be sent there."""
    if not is_hosted(address):
        _no_page(GatewayError("the page's origin is not configured"))
    livemode = bool(current_app.config["SETTINGS"].livemode)
    body = {"object": kind, "id": session_id, "url": address, "livemode": livemode}
    return Response(json.dumps(body), 200, mimetype="application/json")


def _refuse(refused: CheckoutRefused) -> NoReturn:
    status, kind, code = REFUSALS[refused.reason]
    title, text = WORDS[refused.reason]
    more: dict[str, Any] = {"param": "promotion_code"} if status == HTTPStatus.UNPROCESSABLE_ENTITY else {}
    headers = {"Retry-After": str(HOUR_SECONDS)} if status == HTTPStatus.TOO_MANY_REQUESTS else None
    raise ApiError(status, kind, code, f"{title}. {text}", headers=headers, **more) from refused


def _no_page(error: GatewayError) -> NoReturn:
    """Whether there is a page now is not known after `Unavailable`; the same key goes on with the same one."""
    if isinstance(error, Unavailable | RateLimited | InFlight):
        message = "Stripe did not answer in time. Nothing was charged. Send the same again with the same key."
        headers = {"Retry-After": "5"}
        raise ApiError(503, "api_error", "payment_provider_unavailable", message, headers=headers) from error
    message = "Stripe did not open the page, for a reason on our side; it is in our log. Nothing was charged."
    kind = RefusedElsewhere if isinstance(error, REFUSED_BY_STRIPE) else ApiError
    raise kind(502, "api_error", "payment_provider_refused", message) from error
