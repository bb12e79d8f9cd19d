"""Reading a team's plan, what it allows, and its invoices."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Response, current_app, jsonify, request
from sqlalchemy import Select, select

from portal.accounts.api_keys import Scope
from portal.api.authentication import caller
from portal.api.blueprint import ApiBlueprint
from portal.api.credits import credits_of
from portal.api.lists import Rows, page
from portal.api.moments import maybe_rfc3339, rfc3339
from portal.api.schemas.billing import BillingAnswer, EntitlementsAnswer, InvoiceList
from portal.api.schemas.common import ListQuery
from portal.api.usage_totals import month_of
from portal.billing.entitlements import Entitlements, FeatureRight, MeterRight, PlanInForce, effective
from portal.billing.models import Invoice, Subscription
from portal.billing.subscriptions import live_subscription

bp = ApiBlueprint("api_billing", __name__, description="What your customers have bought")

INVOICES_SHOWN = 5


@bp.get("/billing")
@bp.operation(Scope.BILLING_READ)
@bp.response(200, BillingAnswer, description="The team's billing.")
def read_billing() -> dict[str, Any]:
    """Read the billing

    Everything a page about a team's plan needs: the plan in force, the subscription and its state, the credits, what
    was used in the month under way with its limits, and the newest invoices.
    """
    team = caller().team
    rights = effective(team.id)
    newest = page(_rows(team.id), _invoices(team.id), {"limit": INVOICES_SHOWN}, _invoice)
    return {
        "object": "billing",
        "plan": _plan(rights.plan),
        "subscription": _subscription(live_subscription(team.id)),
        "credits": credits_of(team.id),
        "usage": month_of(team, rights),
        "invoices": newest["data"],
        "livemode": _livemode(),
    }


@bp.get("/entitlements")
@bp.operation(Scope.ENTITLEMENTS_READ)
@bp.response(
    200,
    EntitlementsAnswer,
    description="What the team may do.",
    headers={"ETag": {"description": "Names this state of the rights.", "schema": {"type": "string"}}},
)
@bp.alt_response(304, description="Nothing has changed since the answer whose ETag you sent as If-None-Match.")
@bp.doc(
    parameters=[
        {
            "in": "header",
            "name": "If-None-Match",
            "description": "The `ETag` of the answer you have; while it is still right you get 304 without a body.",
            "schema": {"type": "string"},
        }
    ]
)
def read_entitlements() -> Response:
    """Read the entitlements

    The switches and limits of the plan in force, with the exceptions made for the team. Which plan that is in which state
    of the subscription, and whether for reading only, the catalog says. Keep the answer and ask again with its `ETag`: as long as nothing changes that is cheap.
    """
    answer = jsonify(_entitlements(effective(caller().team_id)))
    answer.add_etag()
    answer.make_conditional(request)
    return answer


@bp.get("/invoices")
@bp.operation(Scope.BILLING_READ, HTTPStatus.UNPROCESSABLE_ENTITY, query=ListQuery)
@bp.response(200, InvoiceList, description="A page of the team's invoices.")
def list_invoices(asked: dict[str, Any]) -> dict[str, Any]:
    """List the invoices

    Newest first, without drafts.
    """
    team_id = caller().team_id
    return page(_rows(team_id), _invoices(team_id), asked, _invoice)


def _rows(team_id: str) -> Rows:
    return Rows(team_id, Invoice, Invoice.created_at)


def _invoices(team_id: str) -> Select[Invoice]:
    return select(Invoice).where(Invoice.team_id == team_id, Invoice.status != "draft")


def _plan(plan: PlanInForce | None) -> dict[str, Any] | None:
    return {"object": "plan", "key": plan.key, "name": plan.name} if plan else None


def _subscription(found: Subscription | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "object": "subscription",
        "status": found.status,
        "plan": found.plan_key,
        "interval": found.interval,
        "amount": found.unit_amount,
        "currency": found.currency,
        "current_period_start": maybe_rfc3339(found.current_period_start),
        "current_period_end": maybe_rfc3339(found.current_period_end),
        "trial_end": maybe_rfc3339(found.trial_end),
        "cancel_at": maybe_rfc3339(found.cancel_at),
    }


def _invoice(invoice: Invoice) -> dict[str, Any]:
    return {
        "object": "invoice",
        "id": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "description": invoice.description,
        "currency": invoice.currency,
        "total": invoice.total,
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "hosted_invoice_url": invoice.hosted_invoice_url,
        "invoice_pdf": invoice.invoice_pdf,
        "created": rfc3339(invoice.created_at),
        "livemode": _livemode(),
    }


def _entitlements(rights: Entitlements) -> dict[str, Any]:
    plan = rights.plan
    return {
        "object": "entitlements",
        "plan": _plan(plan),
        "status": rights.status,
        "access": rights.access,
        "seats_included": plan.seats_included if plan else None,
        "credits_monthly": plan.credits_monthly if plan else None,
        "features": {feature.key: _feature(feature) for feature in rights.features},
        "meters": {meter.key: _meter(meter) for meter in rights.meters},
        "livemode": _livemode(),
    }


def _feature(feature: FeatureRight) -> dict[str, Any]:
    return {
        "name": feature.name,
        "kind": feature.kind,
        "enabled": feature.enabled,
        "limit": feature.limit,
        "unit": feature.unit,
        "text": feature.text,
        "source": feature.source,
        "ends_at": maybe_rfc3339(feature.ends_at),
    }


def _meter(meter: MeterRight) -> dict[str, Any]:
    return {
        "name": meter.name,
        "mode": meter.mode,
        "cost_credits": meter.cost_credits,
        "included": meter.included,
        "more_allowed": meter.more_allowed,
    }


def _livemode() -> bool:
    return bool(current_app.config["SETTINGS"].livemode)
