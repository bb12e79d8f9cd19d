"""The library's views, as far as they are opened, limited or answered differently here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, abort, flash, redirect, render_template, request, url_for
from flask_security import Security, current_user
from flask_security.confirmable import confirm_email_token_status, confirm_user
from flask_security.decorators import default_unauthn_handler
from flask_security.recoverable import reset_password_token_status
from flask_security.signals import password_reset, reset_password_instructions_sent
from flask_security.utils import get_message

from portal.accounts import audit, sessions, throttle
from portal.accounts.door_forms import ConfirmationForm, invitation_at, is_newest_reset, reset_digest
from portal.accounts.models import User
from portal.core.database import db
from portal.core.htmx import is_htmx, page_in_view
from portal.core.redirects import own_path

# Pages of ours stand for these: the library's would save outside our units and show what is shown once.
CLOSED = ("two_factor_setup", "two_factor_setup_validate", "two_factor_rescue", "mf_recovery_codes", "tf_select")
# The second step of signing in. Asked by whoever is signed in already, the library would sign them out, on a GET even.
SECOND_STEP = ("two_factor_token_validation", "mf_recovery")
# Forms with which a stranger makes us write to an address.
MAILING = ("register", "forgot_password", "send_confirmation")
SERIALIZERS = ("reset_serializer", "confirm_serializer", "login_serializer")


def init_door(app: Flask, security: Security) -> None:
    views = app.view_functions
    for name in CLOSED:
        views[f"security.{name}"] = _closed
    for name in SECOND_STEP:
        views[f"security.{name}"] = _for_strangers(views[f"security.{name}"])
    for name in MAILING:
        views[f"security.{name}"] = _limited(views[f"security.{name}"])
    views["security.register"] = _mail_first(views["security.register"])
    views["security.login"] = _plain_next(views["security.login"])
    views["security.confirm_email"] = _asked_first(views["security.confirm_email"])
    views["security.reset_password"] = _newest_only(views["security.reset_password"])
    security.unauthn_handler(_to_the_door)
    app.before_request(_forms_only)
    reset_password_instructions_sent.connect(_reset_asked, app)
    password_reset.connect(_reset_done, app)
    for name in SERIALIZERS:
        _sign_with_current_key(getattr(security, name))


def _to_the_door(mechanisms: list[str] | None = None, headers: dict[str, str] | None = None) -> Any:
    """A fragment that is asked for after the session has ended takes the whole page along, as `freshness` does.

    A redirect would be followed, and the sign-in page swapped into the page in view.
    """
    if not is_htmx():
        return default_unauthn_handler(mechanisms, headers)
    flash(*get_message("UNAUTHENTICATED"))
    return Response(status=204, headers={"HX-Redirect": url_for("security.login", next=page_in_view())})


def _forms_only() -> None:
    """The library takes JSON wherever it takes a form, and its forms then hold values that no form can send."""
    if request.blueprint == "security" and request.is_json:
        abort(415)


def _closed(**_values: Any) -> Any:
    abort(404)


def _for_strangers(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def guarded(**values: Any) -> Any:
        if current_user.is_authenticated:
            return redirect(url_for("accounts.teams"))
        return view(**values)

    return guarded


def _limited(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def limited(**values: Any) -> Any:
        if request.method == "POST":
            throttle.check_mail_request()
        return view(**values)

    return limited


def _mail_first(view: Callable[..., Any]) -> Callable[..., Any]:
    """Whoever has signed up from an invitation is told to look into their mail; back there they could do nothing yet."""

    @wraps(view)
    def mail_first(**values: Any) -> Any:
        answer = view(**values)
        if request.method == "POST" and invitation_at(getattr(answer, "location", None)) is not None:
            return redirect(url_for("accounts.check_mail"))
        return answer

    return mail_first


def _plain_next(view: Callable[..., Any]) -> Callable[..., Any]:
    """To the second step with the page that was asked for; the library would carry along what the request calls us."""

    @wraps(view)
    def plain(**values: Any) -> Any:
        answer = view(**values)
        second_step = url_for("security.two_factor_token_validation")
        if not str(getattr(answer, "location", None) or "").startswith(second_step):
            return answer
        asked = own_path(request.args.get("next") or request.form.get("next"))
        return redirect(url_for("security.two_factor_token_validation", next=asked))

    return plain


def _asked_first(view: Callable[..., Any]) -> Callable[..., Any]:
    """Mail programs open links on their own, so opening this one asks and changes nothing.

    It asks for the password of the account, because a stranger may have signed up with the address and chosen it: who
    reads the mailbox must not open the account to them.
    """

    @wraps(view)
    def asked(token: str) -> Any:
        expired, invalid, user = confirm_email_token_status(token)
        if user is None or expired or invalid or user.confirmed_at is not None:
            return view(token)  # which says so
        form = ConfirmationForm(user)
        if not form.validate_on_submit():
            page = render_template("security/confirm_email.html", confirmation_form=form, email=user.email, token=token)
            return page, 422 if form.is_submitted() else 200
        # A new password may be saved this very moment; the library looks at the token again, which ends with the old one.
        db.session.refresh(user, with_for_update=True)
        return view(token)

    return asked


def _newest_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """A link that was used or replaced by a newer one opens nothing; the form looks again when it is sent."""

    @wraps(view)
    def newest(token: str) -> Any:
        expired, invalid, user = reset_password_token_status(token)
        if user is not None and not expired and not invalid and not is_newest_reset(user, token):
            flash(*get_message("INVALID_RESET_PASSWORD_TOKEN"))
            return redirect(url_for("security.forgot_password"))
        return view(token)

    return newest


def _reset_asked(_app: Flask, user: User, reset_token: str, **_library: Any) -> None:
    user.reset_digest = reset_digest(reset_token)


def _reset_done(_app: Flask, user: User, **_library: Any) -> None:
    """The library has made every session void by renaming the person; their rows go too.

    The mailed link has proven the address, and the password is now that of its reader: this confirms the account too.
    """
    user.reset_digest = None
    confirm_user(user)
    sessions.end_others(user.id, None)
    audit.record(audit.by_user(user.id), "user.password_reset")


def _sign_with_current_key(serializer: Any) -> None:
    """The library hands over the current key first, and the signer takes the last: links would die with the old key."""
    current, *fallbacks = serializer.secret_keys
    serializer.secret_keys = [*fallbacks, current]
