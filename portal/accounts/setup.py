"""Sign-up, sign-in and reset by Flask-Security on our own models, mails through the outbox."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, g, request
from flask_security import Security
from flask_security.signals import user_registered
from sqlalchemy.exc import SQLAlchemyError

from portal.accounts import sessions
from portal.accounts.datastore import UserDatastore
from portal.accounts.demo_logins import DEMO_LOGINS, DEMO_PASSWORD
from portal.accounts.door import init_door
from portal.accounts.door_forms import DOOR_FORMS
from portal.accounts.models import User
from portal.accounts.password_rules import PasswordRules
from portal.accounts.registration import make_team
from portal.accounts.security_config import security_config
from portal.accounts.sign_in import init_sign_in, session_in_use
from portal.accounts.two_factor import OneTimeCodes, RecoveryCodes
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.settings import Settings

log = structlog.get_logger(__name__)


def init_app(app: Flask, settings: Settings) -> None:
    app.config.from_mapping(security_config(settings))
    # One for each app: it keeps what it signs with, which a second app of this process would replace for the first.
    security = Security(
        password_util_cls=PasswordRules, totp_cls=OneTimeCodes, mf_recovery_codes_util_cls=RecoveryCodes
    )
    security.init_app(
        app,
        UserDatastore(),
        use_register_v2=True,
        **DOOR_FORMS,
    )
    init_door(app, security)
    _load_nobody_unasked(app, security)
    user_registered.connect(_on_registered, app)
    init_sign_in(app, app.login_manager)  # type: ignore[attr-defined]  # the library hangs it there
    app.after_request(_note_seen)

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


def _load_nobody_unasked(app: Flask, security: Security) -> None:
    """Who asks is read where somebody wants to know it, and from the session only.

    The library would do so before every request, of webhooks too, and read addresses and bodies for a token of its own.
    """
    security.principal.identity_loaders.clear()
    app.login_manager.request_loader(None)  # type: ignore[attr-defined]


def _on_registered(_app: Flask, user: User, form_data: dict[str, Any] | None = None, **_extra: Any) -> None:
    """The team is made before the library commits, so that nobody is left without one but those with an invitation."""
    team_name = (form_data or {}).get("team_name")
    if team_name is not None:
        make_team(user, team_name)


def _note_seen(response: Response) -> Response:
    """A session that is used stays alive, by its person and not by a page that asks on its own (`g.unattended`).

    The request is over: what it has left unsaved was not to be saved.
    """
    found = session_in_use()
    if found is not None and not found.seen_lately and "unattended" not in g:
        try:
            db.session.rollback()
            with unit_of_work():
                sessions.note_seen(found.id, request.remote_addr)
        except SQLAlchemyError as error:
            log.warning("session_not_noted", reason=type(error).__name__)
    return response
