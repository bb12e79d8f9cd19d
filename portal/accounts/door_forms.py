"""The forms of sign-up, sign-in and reset: the library's own, with our limits, records and races in mind."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

from flask import current_app, request, session
from flask_security import hash_password
from flask_security.forms import (
    ForgotPasswordForm,
    LoginForm,
    RegisterFormV2,
    ResetPasswordForm,
    TwoFactorRescueForm,
    TwoFactorVerifyCodeForm,
    VerifyForm,
)
from flask_security.recoverable import send_reset_password_instructions
from flask_security.recovery_codes import MfRecoveryForm
from flask_security.utils import get_message
from flask_wtf import FlaskForm
from werkzeug.exceptions import HTTPException
from wtforms import PasswordField, RadioField, StringField
from wtforms.validators import DataRequired, Length, ValidationError

from portal.accounts import invitations, sessions, throttle
from portal.accounts.forms import trimmed
from portal.accounts.invitations import InvitationOver
from portal.accounts.models import Invitation, User
from portal.accounts.registration import TEAM_NAME_MAX
from portal.accounts.sign_in import current_session, note_failure
from portal.core.database import db
from portal.core.redirects import own_path

# How long after the password the code may follow.
HALF_WAY_SECONDS = 10 * 60
HALF_WAY_SINCE = "tf_since"
NOT_THE_ACCOUNTS = "This is not the password of this account. If you did not choose one, set a new one below."
TOO_LATE = "That took too long. Go back to the sign-in page and begin again."


class RegistrationForm(RegisterFormV2):
    """Sign-up with the name of the team that is made along with the user.

    Whoever comes from an invitation signs up with its address, and has a team to go to: none is made for them.
    """

    name = StringField("Your name", filters=[trimmed], validators=[Length(max=TEAM_NAME_MAX)])
    team_name = StringField(
        "Team name", filters=[trimmed], validators=[DataRequired("Give your team a name."), Length(max=TEAM_NAME_MAX)]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = invitation_at(self.next.data)
        if self.invitation is not None:
            del self.team_name
            self.email.data = self.email.data or self.invitation.email

    def validate_email(self, field: Any) -> None:
        if self.invitation is not None and not invitations.is_to(self.invitation, field.data or ""):
            raise ValidationError(f"The invitation is for {self.invitation.email}. Sign up with that address.")


def invitation_at(address: str | None) -> Invitation | None:
    """The live invitation that the page to go on to is about, if it is one's page."""
    try:
        endpoint, values = current_app.url_map.bind("").match(own_path(address) or "", method="GET")
        return invitations.of_token(values["token"]) if endpoint == "accounts.invitation" else None
    except (HTTPException, InvitationOver):
        return None


class ConfirmationForm(FlaskForm):
    """The password of an account that is not confirmed yet, behind the mailed link; guesses count as those of a sign-in."""

    password = PasswordField("Password", validators=[DataRequired("Give the password you chose when you signed up.")])

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user

    def validate(self, **kwargs: Any) -> bool:
        throttle.check_sign_in(self.user.email)
        if not super().validate(**kwargs):
            return False
        rules = current_app.extensions["security"].password_util
        if self.user.verify_and_update_password(rules.normalize(self.password.data)):
            return True
        throttle.note_failed_sign_in(self.user.email)
        note_failure(self.user, "confirmation")
        self.password.errors = [NOT_THE_ACCOUNTS]
        return False


class SignInForm(LoginForm):
    def validate(self, **kwargs: Any) -> bool:
        email = str(self.email.data or "")
        throttle.check_sign_in(email)
        if super().validate(**kwargs):
            session[HALF_WAY_SINCE] = int(time.time())  # should a code have to follow
            return True
        throttle.note_failed_sign_in(email)
        if isinstance(self.user, User):
            note_failure(self.user, "password")
        return False


class ProofForm(VerifyForm):
    """The password once more; it makes the session fresh."""

    def validate(self, **kwargs: Any) -> bool:
        found = current_session()
        assert found is not None, "the library lets only signed-in people get here"
        throttle.check_proof(found.user.id)
        if super().validate(**kwargs):
            sessions.note_proof(found.id)
            return True
        if self.password.data:
            throttle.note_failed_proof(found.user.id)
            note_failure(found.user, "password again")
        return False


class CodeForm(TwoFactorVerifyCodeForm):
    def validate(self, **kwargs: Any) -> bool:
        self.code.data = "".join(str(self.code.data or "").split())
        return _half_way_in(self, lambda: super(CodeForm, self).validate(**kwargs), "code")


class NoRescueForm(TwoFactorRescueForm):
    """The library makes one beside the form for the code; ours offers the recovery codes by a link."""

    help_setup = RadioField("Help", choices=[])


class RecoveryCodeForm(MfRecoveryForm):
    def validate(self, **kwargs: Any) -> bool:
        self.code.data = "".join((self.code.data or "").split()).lower()
        return _half_way_in(self, lambda: super(RecoveryCodeForm, self).validate(**kwargs), "recovery code")


def _half_way_in(form: Any, check: Any, step: str) -> bool:
    """The second step of a sign-in: soon after the first one, and few times."""
    if time.time() - session.get(HALF_WAY_SINCE, 0) > HALF_WAY_SECONDS:
        form.form_errors = [TOO_LATE]
        return False
    throttle.check_code(form.user.fs_uniquifier)
    if check():
        return True
    if form.code.data:
        throttle.note_failed_code(form.user.fs_uniquifier)
        note_failure(form.user, step)
    return False


class ForgottenForm(ForgotPasswordForm):
    """Takes the same steps whether there is such a person or not, so that nobody can tell by the time it takes.

    An account that is not confirmed yet is let through: the mailed link proves its address as well.
    """

    def validate(self, **kwargs: Any) -> bool:
        if super().validate(**kwargs) or self.requires_confirmation:
            self.email.errors = []
            hash_password("as for nobody")
            return True
        if self.email.data and "@" in self.email.data:
            send_reset_password_instructions(nobody(self.email.data))
        return False


class NewPasswordForm(ResetPasswordForm):
    """The new password behind a mailed link. Of many that use one link at once, the first to lock the row wins."""

    def validate(self, **kwargs: Any) -> bool:
        if not super().validate(**kwargs):
            return False
        user = self.user
        assert isinstance(user, User)
        db.session.refresh(user, with_for_update=True)
        if not is_newest_reset(user, str((request.view_args or {}).get("token"))):
            self.form_errors.append(get_message("INVALID_RESET_PASSWORD_TOKEN")[0])
            return False
        return True


def reset_digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_newest_reset(user: User, token: str) -> bool:
    return user.reset_digest is not None and hmac.compare_digest(user.reset_digest, reset_digest(token))


def nobody(email: str) -> User:
    """Somebody to write to who does not exist: everything is made for them, and nothing is saved or sent."""
    user = User(email=email, password="nothing", fs_uniquifier="nobody")  # noqa: S106  no password
    user.id = ""
    return user


DOOR_FORMS: dict[str, Any] = {
    "register_form": RegistrationForm,
    "login_form": SignInForm,
    "verify_form": ProofForm,
    "forgot_password_form": ForgottenForm,
    "reset_password_form": NewPasswordForm,
    "two_factor_verify_code_form": CodeForm,
    "two_factor_rescue_form": NoRescueForm,
    "mf_recovery_form": RecoveryCodeForm,
}
