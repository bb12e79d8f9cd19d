"""A person's own pages: profile, password, address, sessions."""

from __future__ import annotations

from flask import abort, current_app, flash, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required
from flask_security.changeable import change_user_password

from portal.accounts import audit, email_change, sessions, throttle, two_factor
from portal.accounts.access import signed_in_user
from portal.accounts.audit_log import events_of_person
from portal.accounts.email_change import Changed, LinkOver
from portal.accounts.forms import NewEmailForm, PasswordForm, ProfileForm
from portal.accounts.freshness import fresh
from portal.accounts.models import User
from portal.accounts.routes.people import bp
from portal.accounts.sign_in import current_session
from portal.core.addresses import own_address
from portal.core.reader import DEFAULT_LOCALE
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.notify import notify_person
from portal.notifications.outbox import put_mail

__all__ = ["bp"]


@bp.get("/account")
@auth_required("session")
def profile() -> str:
    user = signed_in_user()
    form = ProfileForm(
        formdata=None,
        data={"name": user.name, "locale": user.locale or DEFAULT_LOCALE, "time_zone": user.time_zone or ""},
    )
    return render_template("accounts/profile.html", form=form)


@bp.post("/account")
@auth_required("session")
def change_profile() -> ResponseReturnValue:
    form, user = ProfileForm(), signed_in_user()
    if not form.validate_on_submit():
        return render_template("accounts/profile.html", form=form), 422
    with unit_of_work():
        user.name, user.locale, user.time_zone = form.name.data, form.locale.data, form.time_zone.data or None
    flash("Your profile is saved.", "success")
    return redirect(url_for("accounts.profile"), 303)


@bp.get("/account/security")
@auth_required("session")
def security() -> str:
    user, found = signed_in_user(), current_session()
    return render_template(
        "accounts/security.html",
        sessions=sessions.sessions_of(user.id, found.id if found else None),
        two_factor_on=two_factor.is_on(user),
        codes_left=two_factor.recovery_codes_left(user),
        events=events_of_person(user.id),
    )


@bp.get("/account/password")
@auth_required("session")
def password() -> str:
    return render_template("accounts/password.html", form=PasswordForm(formdata=None))


@bp.post("/account/password")
@auth_required("session")
def change_password() -> ResponseReturnValue:
    """The current password is proof enough here. Every other session ends, and this one goes on under a new token."""
    form, user = PasswordForm(), signed_in_user()
    throttle.check_proof(user.id)
    if not (form.validate_on_submit() and _takes(form, user)):
        return render_template("accounts/password.html", form=form), 422
    with unit_of_work():
        sessions.end_others(user.id, None)
        user.reset_digest = None
        change_user_password(user, form.password.data)
        audit.record(audit.by_user(user.id), "user.password_changed")
    flash("Your password is changed, and every other session is ended.", "success")
    return redirect(url_for("accounts.security"), 303)


def _takes(form: PasswordForm, user: User) -> bool:
    """Whether the current password is right and the new one good; what is wrong stands at its field."""
    rules = current_app.extensions["security"].password_util
    if not user.verify_and_update_password(rules.normalize(form.current.data)):
        throttle.note_failed_proof(user.id)
        form.current.errors = ["This is not your current password."]
        return False
    errors, form.password.data = rules.validate(form.password.data, False, user=user)
    form.password.errors = errors or []
    return not errors


@bp.get("/account/email")
@auth_required("session")
@fresh("accounts.email")
def email() -> str:
    return render_template("accounts/email.html", form=NewEmailForm(formdata=None))


@bp.post("/account/email")
@auth_required("session")
@fresh("accounts.email")
def ask_for_email() -> ResponseReturnValue:
    """Nothing changes yet: a link goes to the new address and a warning to the old one.

    The page says the same if the address is somebody else's.
    """
    form, user = NewEmailForm(), signed_in_user()
    if form.validate_on_submit() and form.email.data.lower() == user.email.lower():
        form.email.errors = ["This is your address already."]
    if form.errors or not form.is_submitted():
        return render_template("accounts/email.html", form=form), 422
    with unit_of_work():
        token = email_change.ask(user, form.email.data)
        audit.record(audit.by_user(user.id), "user.email_change_asked")
        if throttle.may_mail(form.email.data):
            put_mail(_mail_to_new_address(form.email.data, token))
        if throttle.may_warn(user.id):
            stop = own_address("security.forgot_password")
            warning = messages.email_change_asked_notice(user.email, form.email.data, stop)
            notify_person(user.id, warning, link=own_address("accounts.email"))
    flash("If the address can be used, a link is on its way to it.", "success")
    return redirect(url_for("accounts.email"), 303)


def _mail_to_new_address(address: str, token: str | None) -> messages.Message:
    if token is None:
        return messages.new_email_taken(address, own_address("security.login"))
    return messages.confirm_new_email(address, own_address("accounts.new_email", token=token))


@bp.post("/account/email/withdrawal")
@auth_required("session")
def withdraw_email() -> ResponseReturnValue:
    with unit_of_work():
        email_change.withdraw(signed_in_user())
    flash("Your address stays as it is.", "success")
    return redirect(url_for("accounts.security"), 303)


@bp.get("/account/email/<token>")
def new_email(token: str) -> ResponseReturnValue:
    """Asks, because mail programs open links on their own; it works signed in or not, on any device."""
    try:
        user = email_change.pending(token)
    except LinkOver:
        return render_template("accounts/email_over.html"), 410
    return render_template("accounts/email_confirm.html", token=token, new_email=user.new_email)


@bp.post("/account/email/<token>")
def confirm_email(token: str) -> ResponseReturnValue:
    found = current_session()
    try:
        with unit_of_work():
            changed = _apply(token, found.id if found else None)
    except LinkOver:
        return render_template("accounts/email_over.html"), 410
    if found is not None and found.user.id == changed.user.id:
        session["_user_id"] = changed.user.fs_uniquifier
    flash("Your address is changed.", "success")
    return redirect(url_for("accounts.security"), 303)


def _apply(token: str, kept_session_id: str | None) -> Changed:
    changed = email_change.apply(token)
    current_app.extensions["security"].datastore.set_uniquifier(changed.user)
    sessions.end_others(changed.user.id, kept_session_id)
    audit.record(audit.by_user(changed.user.id), "user.email_changed")
    for address in (changed.before, changed.after):
        notice = messages.email_changed_notice(address, changed.after, own_address("accounts.security"))
        notify_person(changed.user.id, notice, in_inbox=address == changed.after)
    return changed


@bp.post("/account/sessions/<session_id>/end")
@auth_required("session")
def end_session(session_id: str) -> ResponseReturnValue:
    user = signed_in_user()
    with unit_of_work():
        if not sessions.end(user.id, session_id):
            abort(404)
        audit.record(audit.by_user(user.id), "user.session_ended", target=session_id)
    flash("That session is ended.", "success")
    return redirect(url_for("accounts.security"), 303)


@bp.post("/account/sessions/end")
@auth_required("session")
def end_sessions() -> ResponseReturnValue:
    """Everywhere but here. Renaming the person inside also voids mailed links and half-finished sign-ins."""
    user, found = signed_in_user(), current_session()
    with unit_of_work():
        ended = sessions.end_others(user.id, found.id if found else None)
        current_app.extensions["security"].datastore.set_uniquifier(user)
        audit.record(audit.by_user(user.id), "user.sessions_ended", ended=ended)
    session["_user_id"] = user.fs_uniquifier
    flash("You are signed out everywhere else.", "success")
    return redirect(url_for("accounts.security"), 303)
