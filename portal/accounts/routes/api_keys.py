"""The page of a team's API keys."""

from __future__ import annotations

from flask import current_app, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.access import current_membership, current_team, signed_in_user, team_page
from portal.accounts.api_key_format import KeyText
from portal.accounts.api_keys import TooManyKeys, create_key, keys_of, revoke_key
from portal.accounts.audit import by_user
from portal.accounts.forms import ApiKeyForm
from portal.accounts.freshness import fresh
from portal.accounts.routes.people import bp
from portal.core.authz import Action, may
from portal.core.htmx import is_htmx
from portal.core.unit_of_work import unit_of_work

__all__ = ["bp"]


@bp.get("/teams/<team_id>/api-keys")
@team_page(Action.VIEW_API_KEYS)
def api_keys() -> str:
    return render_template("accounts/api_keys.html", **_page(), form=ApiKeyForm(formdata=None))


@bp.post("/teams/<team_id>/api-keys")
@team_page(Action.MANAGE_API_KEYS)
@fresh("accounts.api_keys")
def create_api_key() -> ResponseReturnValue:
    """Answers with the secret itself: a redirect would have to carry it through an address or a cookie."""
    form, key = ApiKeyForm(), None
    if form.validate_on_submit():
        key = _create(form)
    shown = None
    if key is not None:
        shown = {"secret": key.secret, "name": form.name.data}
        form = ApiKeyForm(formdata=None)
    template = "accounts/_keys_region.html" if is_htmx() else "accounts/api_keys.html"
    return render_template(template, **_page(), form=form, new_key=shown), 200 if key else 422


@bp.post("/teams/<team_id>/api-keys/<key_id>/revocation")
@team_page(Action.MANAGE_API_KEYS)
def revoke_api_key(key_id: str) -> ResponseReturnValue:
    team = current_team()
    with unit_of_work():
        name = revoke_key(team.id, key_id, by_user(signed_in_user().id))
    flash(f"The key “{name}” is revoked.", "success")
    if is_htmx():
        return render_template("accounts/_keys_table.html", **_page()) + render_template("_layout/_toasts.html")
    return redirect(url_for("accounts.api_keys", team_id=team.id), 303)


def _create(form: ApiKeyForm) -> KeyText | None:
    settings = current_app.config["SETTINGS"]
    try:
        with unit_of_work():
            return create_key(
                current_team().id,
                signed_in_user(),
                form.name.data,
                livemode=settings.livemode,
                scopes=form.chosen_scopes,
                lasts=form.chosen_life,
            )
    except TooManyKeys as error:
        form.name.errors = [str(error)]
        return None


def _page() -> dict[str, object]:
    membership = current_membership()
    return {
        "team": membership.team,
        "keys": keys_of(membership.team_id),
        "may_manage": may(membership.role, Action.MANAGE_API_KEYS),
    }
