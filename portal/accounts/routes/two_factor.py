"""Turning codes at sign-in on and off, and making recovery codes."""

from __future__ import annotations

from flask import flash, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required

from portal.accounts import audit, two_factor
from portal.accounts.access import signed_in_user
from portal.accounts.forms import CodeForm
from portal.accounts.freshness import fresh
from portal.accounts.models import User
from portal.accounts.routes.people import bp
from portal.catalog.current import catalog
from portal.core.addresses import own_address
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.notify import notify_person

__all__ = ["bp"]

# The secret of a set-up under way, encrypted; the same until it is done, so that a picture scanned twice is no riddle.
NEW_SECRET = "new_totp_secret"  # noqa: S105  the cookie's name for it


@bp.get("/account/two-factor")
@auth_required("session")
@fresh("accounts.two_factor_setup")
def two_factor_setup() -> ResponseReturnValue:
    user = signed_in_user()
    if two_factor.is_on(user):
        return redirect(url_for("accounts.security"))
    session.setdefault(NEW_SECRET, two_factor.new_secret())
    return _setup_page(user, CodeForm(formdata=None))


@bp.post("/account/two-factor")
@auth_required("session")
@fresh("accounts.two_factor_setup")
def turn_two_factor_on() -> ResponseReturnValue:
    """Answers with the recovery codes themselves, which are shown this once."""
    form, user = CodeForm(), signed_in_user()
    if two_factor.is_on(user) or NEW_SECRET not in session:
        return redirect(url_for("accounts.two_factor_setup"), 303)
    codes = None
    if form.validate_on_submit():
        with unit_of_work():
            codes = two_factor.turn_on(user, session[NEW_SECRET], form.code.data.replace(" ", ""))
            if codes:
                _tell(user, "user.two_factor_on", "on")
    if codes is None:
        form.code.errors = form.code.errors or ["This code is wrong. Look whether your phone's clock is right."]
        return _setup_page(user, form), 422
    session.pop(NEW_SECRET)
    return render_template("accounts/recovery_codes.html", codes=codes, just_on=True)


@bp.post("/account/two-factor/removal")
@auth_required("session")
@fresh("accounts.security")
def turn_two_factor_off() -> ResponseReturnValue:
    user = signed_in_user()
    if two_factor.is_on(user):
        with unit_of_work():
            two_factor.turn_off(user)
            _tell(user, "user.two_factor_off", "off")
        flash("Signing in takes your password alone again.", "success")
    return redirect(url_for("accounts.security"), 303)


@bp.post("/account/recovery-codes")
@auth_required("session")
@fresh("accounts.security")
def new_recovery_codes() -> ResponseReturnValue:
    user = signed_in_user()
    if not two_factor.is_on(user):
        return redirect(url_for("accounts.security"), 303)
    with unit_of_work():
        codes = two_factor.new_recovery_codes(user)
        _tell(user, "user.recovery_codes_made", "codes")
    return render_template("accounts/recovery_codes.html", codes=codes, just_on=False)


def _setup_page(user: User, form: CodeForm) -> str:
    setup = two_factor.setup_values(user, session[NEW_SECRET], catalog().portal.name)
    return render_template("accounts/two_factor.html", form=form, setup=setup)


def _tell(user: User, action: str, state: str) -> None:
    audit.record(audit.by_user(user.id), action)
    notice = messages.two_factor_notice(user.email, state, own_address("accounts.password"))
    notify_person(user.id, notice, link=own_address("accounts.security"))
