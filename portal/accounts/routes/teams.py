"""Making a further team, and a team's settings."""

from __future__ import annotations

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required

from portal.accounts.access import current_team, signed_in_user, team_page
from portal.accounts.forms import NewTeamForm, TeamForm
from portal.accounts.registration import TooManyTeams, change_team, make_further_team
from portal.accounts.routes.people import bp
from portal.catalog.queries import free_plan
from portal.core.authz import Action
from portal.core.unit_of_work import unit_of_work
from portal.credits.free_plan import grant_free_period

__all__ = ["bp"]


@bp.get("/teams/new")
@auth_required("session")
def new_team() -> str:
    return render_template("accounts/new_team.html", form=NewTeamForm(formdata=None))


@bp.post("/teams/new")
@auth_required("session")
def create_team() -> ResponseReturnValue:
    form = NewTeamForm()
    if form.validate_on_submit():
        try:
            with unit_of_work():
                team = make_further_team(signed_in_user(), form.name.data)
                plan = free_plan()
                grant_free_period(team, (plan.credits_monthly if plan else 0) or 0)
        except TooManyTeams as error:
            form.name.errors = [str(error)]
        else:
            flash(f"The team “{team.name}” is yours.", "success")
            return redirect(url_for("billing.overview", team_id=team.id), 303)
    return render_template("accounts/new_team.html", form=form), 422


@bp.get("/teams/<team_id>/settings")
@team_page(Action.MANAGE_TEAM)
def team_settings() -> str:
    team = current_team()
    return render_template("accounts/team_settings.html", team=team, form=TeamForm(formdata=None, obj=team))


@bp.post("/teams/<team_id>/settings")
@team_page(Action.MANAGE_TEAM)
def change_team_settings() -> ResponseReturnValue:
    form, team = TeamForm(), current_team()
    if not form.validate_on_submit():
        return render_template("accounts/team_settings.html", team=team, form=form), 422
    with unit_of_work():
        change_team(team, signed_in_user(), name=form.name.data, time_zone=form.time_zone.data)
    flash("The settings are saved.", "success")
    return redirect(url_for("accounts.team_settings", team_id=team.id), 303)
