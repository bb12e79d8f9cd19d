"""Picking a team, choosing the appearance, and the page after signing up."""

from __future__ import annotations

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required

from portal.accounts.access import memberships_of, signed_in_user
from portal.accounts.invitations import to_person
from portal.accounts.member_list import ROLE_WORDS
from portal.billing import switch
from portal.core.redirects import own_path

bp = Blueprint("accounts", __name__)

THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
YEAR_SECONDS = 365 * 24 * 3600


@bp.get("/teams")
@auth_required("session")
def teams() -> ResponseReturnValue:
    """One team: straight to its overview. Several, one that does not see billing, or an invitation: the choice."""
    memberships, invitations = memberships_of(signed_in_user()), to_person(signed_in_user())
    if len(memberships) == 1 and not invitations and switch.open_for(memberships[0].team_id):
        return redirect(url_for("billing.overview", team_id=memberships[0].team_id))
    return render_template("accounts/teams.html", invitations=invitations, role_words=ROLE_WORDS)


@bp.get("/signup/check-mail")
def check_mail() -> str:
    settings = current_app.config["SETTINGS"]
    return render_template("security/check_mail.html", dev_mail=not settings.production and not settings.mail_url)


@bp.post("/appearance")
def appearance() -> ResponseReturnValue:
    """Remember light or dark in a cookie; `system` follows the machine and needs none."""
    theme = request.form.get("theme", "")
    if theme not in THEMES:
        abort(422)
    answer = redirect(own_path(request.form.get("next")) or url_for("catalog.pricing"))
    if theme == "system":
        answer.delete_cookie(THEME_COOKIE)
    else:
        secure = current_app.config["SETTINGS"].secure
        answer.set_cookie(THEME_COOKIE, theme, max_age=YEAR_SECONDS, samesite="Lax", httponly=True, secure=secure)
    assert isinstance(answer, Response)
    return answer
