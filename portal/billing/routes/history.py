"""The lists of payments and invoices."""

from __future__ import annotations

from flask import render_template, request

from portal.accounts.access import current_team, team_page
from portal.billing import invoice_list, payment_history
from portal.billing.list_filters import Filters, read_filters
from portal.billing.models import PAYMENT_STATUSES, PAYMENT_TYPES
from portal.billing.routes.overview import bp
from portal.billing.subscriptions import live_subscription
from portal.core.authz import Action


@bp.get("/teams/<team_id>/payments")
@team_page(Action.VIEW_BILLING)
def payments() -> str:
    team, filters = current_team(), _payment_filters()
    page = payment_history.listing(team.id, filters).page(request.args.get("before"), request.args.get("after"))
    rows = payment_history.rows_of(team.id, page.rows)
    return render_template(
        "billing/payments.html",
        team=team,
        filters=filters,
        page=page,
        rows=rows,
        types=payment_history.TYPE_LABELS,
        statuses={name: label for name, (label, _) in payment_history.STATUS_LABELS.items()},
    )


@bp.get("/teams/<team_id>/invoices")
@team_page(Action.VIEW_BILLING)
def invoices() -> str:
    team, filters = current_team(), _invoice_filters()
    page = invoice_list.listing(team.id, filters).page(request.args.get("before"), request.args.get("after"))
    return render_template(
        "billing/invoices.html",
        team=team,
        filters=filters,
        page=page,
        subscribed=live_subscription(team.id) is not None,
        rows=[invoice_list.row_of(invoice) for invoice in page.rows],
        statuses={name: label for name, (label, _) in invoice_list.INVOICE_LABELS.items()},
    )


def _payment_filters() -> Filters:
    return read_filters(request.args, current_team().time_zone, types=PAYMENT_TYPES, statuses=PAYMENT_STATUSES)


def _invoice_filters() -> Filters:
    return read_filters(request.args, current_team().time_zone, statuses=invoice_list.INVOICE_LABELS)
