"""Sign-up, sign-in and reset by Flask-Security on our own models, mails through the outbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from flask_security import Security
from flask_security.signals import user_registered

from portal.accounts.datastore import UserDatastore
from portal.accounts.demo_logins import DEMO_LOGINS, DEMO_PASSWORD
from portal.accounts.forms import RegistrationForm
from portal.accounts.models import User
from portal.accounts.registration import make_team
from portal.settings import Settings

security = Security()


def init_app(app: Flask, settings: Settings) -> None:
    app.config.from_mapping(_security_config(settings))
    security.init_app(app, UserDatastore(), use_register_v2=True, register_form=RegistrationForm)
    user_registered.connect(_on_registered, app)

    @security.context_processor
    def door() -> dict[str, object]:
        """What the sign-in pages add in development: where mails are, and the logins of the demo data."""
        mails_stay = not settings.production and settings.mail_url is None
        show_demo = settings.env == "development" and settings.sandbox_mode
        return {
            "dev_mail": mails_stay,
            "demo_logins": DEMO_LOGINS if show_demo else [],
            "demo_password": DEMO_PASSWORD,
        }


def _on_registered(_app: Flask, user: User, form_data: dict[str, Any] | None = None, **_extra: Any) -> None:
    """The team is made before the library commits, so that there is never a user without one."""
    make_team(user, (form_data or {}).get("team_name") or "")


def _security_config(settings: Settings) -> dict[str, object]:
    return {
        "SECURITY_PASSWORD_SALT": settings.secret_key,
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_PASSWORD_SINGLE_HASH": True,
        "SECURITY_PASSWORD_LENGTH_MIN": 8,
        "SECURITY_PASSWORD_CONFIRM_REQUIRED": False,
        "SECURITY_JOIN_USER_ROLES": False,  # roles belong to memberships
        "SECURITY_REGISTERABLE": True,
        "SECURITY_USE_REGISTER_V2": True,
        "SECURITY_CONFIRMABLE": True,
        "SECURITY_RECOVERABLE": True,
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_CONFIRM_EMAIL_WITHIN": timedelta(days=2),
        "SECURITY_RESET_PASSWORD_WITHIN": timedelta(minutes=60),
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False, "test_environment": not settings.production},
        "SECURITY_EMAIL_SENDER": settings.mail_from,
        "SECURITY_LOGIN_URL": "/login",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_REGISTER_URL": "/signup",
        "SECURITY_RESET_URL": "/reset",
        "SECURITY_CONFIRM_URL": "/confirm",
        "SECURITY_POST_LOGIN_VIEW": "/teams",
        "SECURITY_POST_LOGOUT_VIEW": "/pricing",
        "SECURITY_POST_REGISTER_VIEW": "/signup/check-mail",
        "SECURITY_POST_CONFIRM_VIEW": "/login",
        "SECURITY_UNAUTHORIZED_VIEW": None,
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_DEFAULT_REMEMBER_ME": False,
        "SECURITY_MSG_GENERIC_AUTHN_FAILED": (
            "E-mail and password do not match, or the address is not confirmed yet.",
            "error",
        ),
        "SECURITY_MSG_INVALID_CONFIRMATION_TOKEN": (
            "This link is damaged or was replaced. Ask for a new one.",
            "error",
        ),
        "SECURITY_MSG_INVALID_RESET_PASSWORD_TOKEN": ("This link is damaged or was used. Ask for a new one.", "error"),
        "SECURITY_MSG_INVALID_EMAIL_ADDRESS": ("This is not an address mail can be sent to.", "error"),
        "SECURITY_MSG_CONFIRMATION_REQUEST": ("If this address waits for it, a link is on its way.", "info"),
        "SECURITY_MSG_PASSWORD_RESET_REQUEST": ("If this address has an account, a link is on its way.", "info"),
        "SECURITY_MSG_EMAIL_CONFIRMED": ("Your address is confirmed. Sign in to go on.", "success"),
        "SECURITY_REDIRECT_VALIDATE_MODE": "absolute",
        "REMEMBER_COOKIE_DURATION": 14 * 24 * 3600,
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SECURE": settings.secure,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_NAME": "__Host-turnpike-keep" if settings.secure else "turnpike-keep",
    }
