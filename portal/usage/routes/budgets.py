"""The page of budgets."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_membership, current_team, signed_in_user, team_page
from portal.accounts.audit import by_user
from portal.core.authz import Action, may
from portal.core.unit_of_work import unit_of_work
from portal.usage.budget_settings import CREDITS, remove_budget, set_budget, subjects_of, units_of
from portal.usage.budgets import budgets_of
from portal.usage.forms import BudgetForm, choices_of
from portal.usage.routes.usage_page import bp


@bp.get("/teams/<team_id>/usage/budgets")
@team_page(Action.VIEW_BILLING)
def budgets() -> str:
    return _page(_form(formdata=None))


@bp.post("/teams/<team_id>/usage/budgets", endpoint="set_budget")
@team_page(Action.MANAGE_BILLING)
def save_budget() -> ResponseReturnValue:
    team, form = current_team(), _form()
    if not form.validate_on_submit():
        return _page(form), 422
    with unit_of_work():
        actor = by_user(signed_in_user().id)
        meter = None if form.units.data == CREDITS else form.units.data
        set_budget(team.id, form.subject.data, form.limit.data, form.action.data, actor, meter=meter)
    flash("The budget is set. It counts what was used since the month began.", "success")
    return redirect(url_for("usage.budgets", team_id=team.id), 303)


@bp.post("/teams/<team_id>/usage/budgets/<budget_id>/removal", endpoint="remove_budget")
@team_page(Action.MANAGE_BILLING)
def end_budget(budget_id: str) -> ResponseReturnValue:
    team = current_team()
    with unit_of_work():
        if not remove_budget(team.id, budget_id, by_user(signed_in_user().id)):
            abort(404)
    flash("The budget is removed.", "success")
    return redirect(url_for("usage.budgets", team_id=team.id), 303)


def _form(**values: object) -> BudgetForm:
    form = BudgetForm(**values)
    form.subject.choices = choices_of(subjects_of(current_team().id))
    form.units.choices = choices_of(units_of())
    return form


def _page(form: BudgetForm) -> str:
    team = current_team()
    return render_template(
        "usage/budgets.html",
        team=team,
        form=form,
        budgets=budgets_of(team.id),
        may_manage=may(current_membership().role, Action.MANAGE_BILLING),
    )
