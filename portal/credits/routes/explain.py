"""Explain: every number of the credits page taken apart, each as a page and, for a swap, as its region alone."""

from __future__ import annotations

from typing import Any

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_team, team_page
from portal.billing.models import Payment
from portal.billing.payment_history import row_of
from portal.core.authz import Action
from portal.core.htmx import is_htmx
from portal.core.tenancy import load_for
from portal.credits.explain_balance import explain_balance
from portal.credits.explain_entry import explain_entry
from portal.credits.explain_grant import explain_grant
from portal.credits.grant_causes import bought_with
from portal.credits.routes.credits_page import VERSION_DIGITS_MAX, bp
from portal.usage.event_list import use_reported_as


@bp.get("/teams/<team_id>/credits/explain/balance")
@team_page(Action.VIEW_BILLING)
def explain_balance_page() -> str:
    team = current_team()
    return _answer("balance", explained=explain_balance(team.id))


@bp.get("/teams/<team_id>/credits/explain/grant")
@team_page(Action.VIEW_BILLING)
def explain_grant_page() -> ResponseReturnValue:
    """The grant of the `cause` in the address, which may hold anything a reporter or a seller has named."""
    cause_key = request.args.get("cause")
    if cause_key is None:
        return _balance_instead()
    explained = explain_grant(current_team().id, cause_key)
    if explained is None:
        abort(404)
    return _answer("grant", explained=explained)


@bp.get("/teams/<team_id>/credits/explain/entry")
@team_page(Action.VIEW_BILLING)
def explain_entry_page() -> ResponseReturnValue:
    """The entry of the `version` in the address: its number in the team's own history."""
    team_id, text = current_team().id, request.args.get("version")
    if text is None:
        return _balance_instead()
    is_version = text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX
    explained = explain_entry(team_id, int(text)) if is_version else None
    if explained is None:
        abort(404)
    return _answer("entry", explained=explained, use=use_reported_as(team_id, explained.use_key))


def _balance_instead() -> ResponseReturnValue:
    """An address that names nothing is answered with what everything adds up to."""
    return redirect(url_for("credits.explain_balance_page", team_id=current_team().id))


@bp.get("/teams/<team_id>/credits/explain/charge/<payment_id>")
@team_page(Action.VIEW_BILLING)
def explain_charge_page(payment_id: str) -> str:
    payment = load_for(current_team().id, Payment, payment_id)
    return _answer("charge", payment=row_of(payment), bought=bought_with(payment))


def _answer(thing: str, **values: Any) -> str:
    team, part = current_team(), f"credits/_explain_{thing}.html"
    if is_htmx():
        return render_template("credits/_explained.html", team=team, part=part, **values)
    return render_template("credits/explain.html", team=team, part=part, **values)
