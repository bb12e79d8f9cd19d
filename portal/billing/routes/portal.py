"""To Stripe's customer portal and back. What was done there is known when the mirror has it, not by the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts import audit
from portal.accounts.access import current_team, signed_in_user, team_page
from portal.accounts.models import Team
from portal.billing import customer_portal, portal_status
from portal.billing.customer_portal import PortalRefused
from portal.billing.gateway import GatewayError, gateway
from portal.billing.hosted_pages import is_hosted
from portal.billing.models import PORTAL_FLOWS, PortalVisit
from portal.billing.portal_refusals import portal_refusal, portal_trouble
from portal.billing.portal_status import PortalStatus
from portal.billing.refusals import Refusal
from portal.billing.routes.overview import bp
from portal.core.addresses import own_address
from portal.core.authz import Action
from portal.core.clock import now
from portal.core.ids import new_id
from portal.core.limits import Quota, limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import unit_of_work

SLOW_AFTER = timedelta(seconds=30)
OPENED = Quota("portal-visits", "10 per minute")


def _this_person() -> str:
    return signed_in_user().id


@bp.post("/teams/<team_id>/portal")
@team_page(Action.MANAGE_BILLING)
@limited(OPENED, _this_person)
def open_portal() -> ResponseReturnValue:
    """Only what is to be done is taken from the form; whose customer it is follows from the team."""
    team, flow = current_team(), request.form.get("flow") or None
    if flow is not None and flow not in PORTAL_FLOWS:
        raise UnprocessableEntity("This cannot be done in the customer portal.")
    try:
        address = _start(team, flow)
    except PortalRefused as error:
        return _refused(portal_refusal(error.reason, team.id), 409)
    except GatewayError as error:
        return _refused(portal_trouble(error, team.id), 502)
    if not is_hosted(address):
        return _refused(portal_trouble(GatewayError("the page's origin is not configured"), team.id), 502)
    return redirect(address, 303)


def _start(team: Team, flow: str | None) -> str:
    """Note what for, open a session with ways back to our pages, and record that it was opened."""
    back = own_address("billing.overview", team_id=team.id, back="stripe")
    user_id, done = signed_in_user().id, None
    if flow is not None:
        with unit_of_work() as session:
            before = portal_status.state_before(team.id, flow)
            visit = PortalVisit(id=new_id("visit"), team_id=team.id, user_id=user_id, flow=flow, before=before)
            session.add(visit)
            done = own_address("billing.portal_return", team_id=team.id, visit_id=visit.id)
    address = customer_portal.start(gateway(), team, return_url=back, flow=flow, done_url=done)
    with unit_of_work():
        audit.record(audit.by_user(user_id), "portal.opened", team_id=team.id, flow=flow)
    return address


@bp.get("/teams/<team_id>/portal/<visit_id>")
@team_page(Action.MANAGE_BILLING)
def portal_return(visit_id: str) -> str:
    return render_template("billing/portal_return.html", **_context(visit_id))


@bp.get("/teams/<team_id>/portal/<visit_id>/status")
@team_page(Action.MANAGE_BILLING)
def portal_return_status(visit_id: str) -> ResponseReturnValue:
    """The fragment that the page asks for while it waits; 204 while there is nothing new to say."""
    context = _context(visit_id)
    state = cast(PortalStatus, context["state"])
    if state.kind == request.args.get("seen"):
        return "", 204
    return render_template("billing/_portal_status.html", **context)


def _context(visit_id: str) -> dict[str, object]:
    team = current_team()
    visit = load_for(team.id, PortalVisit, visit_id)
    return {
        "team": team,
        "state": portal_status.read(visit, slow=now() - visit.created_at > SLOW_AFTER),
        "order": new_id("ord"),
        "status_url": url_for("billing.portal_return_status", team_id=team.id, visit_id=visit.id),
        "again_url": url_for("billing.portal_return", team_id=team.id, visit_id=visit.id),
        "overview_url": url_for("billing.overview", team_id=team.id),
    }


def _refused(reason: Refusal, status: int) -> ResponseReturnValue:
    return render_template("billing/portal_refused.html", team=current_team(), reason=reason), status
