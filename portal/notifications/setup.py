"""Hands the outbox to the accounts library (notifications stand above accounts, so the wiring is here)."""

from __future__ import annotations

from typing import Any

from flask import Flask, g
from flask_security import current_user
from flask_security.signals import user_confirmed
from werkzeug.local import LocalProxy

from portal.accounts.access import memberships_of, signed_in_user
from portal.accounts.models import User
from portal.core.addresses import own_address
from portal.notifications import messages
from portal.notifications.inbox import UNREAD_MAX, unread_count
from portal.notifications.notify import notify_person
from portal.notifications.security_mail import OutboxMailUtil
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    app.extensions["security"]._mail_util = OutboxMailUtil(app)  # noqa: SLF001  its own option would need us before accounts
    user_confirmed.connect(_welcome, app)

    @app.context_processor
    def bell() -> dict[str, object]:
        # A proxy: pages without the frame ask the database nothing.
        return {"unread": LocalProxy(_unread), "unread_max": UNREAD_MAX}


def _unread() -> int:
    """Counted once for a page, which shows it in two places."""
    if "unread" not in g:
        g.unread = unread_count(signed_in_user().id) if current_user.is_authenticated else 0
    return int(g.unread)


def _welcome(_app: Flask, user: User, **_library: Any) -> None:
    """Before the library commits; the key makes it one welcome, however often an address is confirmed."""
    memberships = memberships_of(user)
    first = own_address("accounts.members", team_id=memberships[0].team_id) if memberships else ""
    message = messages.welcome(
        user.email, person=user.display_name, team_link=first, link=own_address("accounts.teams")
    )
    notify_person(user.id, message, f"welcome:{user.id}")
