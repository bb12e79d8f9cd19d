"""One invoice, paying it now and waiting for what comes of it, and what the next one will say."""

from __future__ import annotations

from functools import partial

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.billing import invoice_page, next_invoice, pay_now, pay_status
from portal.billing.gateway import GatewayError, gateway
from portal.billing.hosted_pages import is_hosted
from portal.billing.invoice_models import PaymentTry
from portal.billing.models import Invoice
from portal.billing.pay_now import PayRefused
from portal.billing.pay_refusals import pay_refusal
from portal.billing.routes.overview import bp
from portal.core.authz import Action
from portal.core.htmx import is_htmx
from portal.core.ids import is_id, new_id
from portal.core.limits import Quota, limited
from portal.core.tenancy import load_for
from portal.core.unit_of_work import unit_of_work
from portal.usage.overage import overages

ASKED = Quota("payment-tries", "10 per minute")
LOOKED_AHEAD = Quota("next-invoices", "30 per minute")
HOUR_SECONDS = 3600


def _this_person() -> str:
    return signed_in_user().id


@bp.get("/teams/<team_id>/invoices/<invoice_id>", endpoint="invoice")
@team_page(Action.VIEW_BILLING)
def show_invoice(invoice_id: str) -> str:
    team = current_team()
    page = invoice_page.build(load_for(team.id, Invoice, invoice_id))
    # What makes two presses of the button one try: a page that is loaded anew begins a new one.
    return render_template("billing/invoice.html", team=team, page=page, invoice_id=invoice_id, order=new_id("ord"))


@bp.get("/teams/<team_id>/invoices/next", endpoint="next_invoice")
@team_page(Action.VIEW_BILLING)
@limited(LOOKED_AHEAD, _this_person)
def show_next_invoice() -> ResponseReturnValue:
    """The fragment that the list of invoices asks for, or a page of its own. Nothing of it is kept."""
    team, coming, away = current_team(), None, False
    try:
        coming = next_invoice.read(gateway(), team.id)
    except GatewayError:
        away = True
    template = "billing/_next_invoice.html" if is_htmx() else "billing/next_invoice.html"
    # What htmx gets with an error it does not show.
    status = 502 if away and not is_htmx() else 200
    counted = overages(team.id) if coming else []
    return render_template(template, team=team, coming=coming, away=away, overages=counted), status


@bp.post("/teams/<team_id>/invoices/<invoice_id>/payment")
@team_page(Action.MANAGE_BILLING)
@limited(ASKED, _this_person)
def pay_invoice(invoice_id: str) -> ResponseReturnValue:
    """The worker charges it; this page only says that it shall."""
    team, user_id = current_team(), signed_in_user().id
    invoice, token = load_for(team.id, Invoice, invoice_id), request.form.get("order", "")
    try:
        with unit_of_work():
            row = pay_now.ask(team, user_id, invoice, token if is_id("ord", token) else None)
            address = url_for("billing.payment_try", team_id=team.id, try_id=row.id)
    except PayRefused as refused:
        reason, status = pay_refusal(refused, team.id, invoice_id)
        headers = {"Retry-After": str(HOUR_SECONDS)} if status == 429 else {}
        return render_template("billing/pay_refused.html", team=team, reason=reason), status, headers
    return redirect(address, 303)


@bp.get("/teams/<team_id>/payment-tries/<try_id>")
@team_page(Action.MANAGE_BILLING)
def payment_try(try_id: str) -> str:
    return render_template("billing/payment_try.html", **_context(try_id))


@bp.get("/teams/<team_id>/payment-tries/<try_id>/status")
@team_page(Action.MANAGE_BILLING)
def payment_try_status(try_id: str) -> ResponseReturnValue:
    """The fragment that the page asks for while it waits; 204 while there is nothing new to say."""
    context = _context(try_id)
    state: pay_status.PayStatus = context["state"]  # type: ignore[assignment]
    if state.kind == request.args.get("seen"):
        return "", 204
    return render_template("billing/_payment_try.html", **context)


def _context(try_id: str) -> dict[str, object]:
    team = current_team()
    row = load_for(team.id, PaymentTry, try_id)
    state = pay_status.read(row)
    address = partial(url_for, team_id=team.id)
    return {
        "team": team,
        "state": state,
        "order": new_id("ord"),
        "confirm_url": state.confirm_url if state.confirm_url and is_hosted(state.confirm_url) else None,
        "status_url": address("billing.payment_try_status", try_id=row.id),
        "again_url": address("billing.payment_try", try_id=row.id),
        "invoice_url": address("billing.invoice", invoice_id=state.invoice_id),
        "overview_url": address("billing.overview"),
    }
