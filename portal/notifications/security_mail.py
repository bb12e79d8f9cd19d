"""Flask-Security's mails, written in our words and sent through the outbox."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Response, after_this_request, current_app
from flask_security import MailUtil
from sqlalchemy import text

from portal.accounts import throttle
from portal.core import unit_of_work
from portal.core.addresses import own_address
from portal.core.database import db
from portal.notifications import messages
from portal.notifications.notify import notify_person
from portal.notifications.outbox import put_mail

# Anybody can make us write these to any address, so there is a limit for each kind and address.
ASKED_BY_STRANGERS = {"confirm_email", "reset_password", "already_registered"}
# Where nothing is saved for an unknown address. Nobody is to read from the time an answer takes which one it is, so the
# commit does not wait for the disk; a mail that is lost with the machine is asked for once more.
SAVED_FOR_THE_KNOWN = {"reset_instructions", "confirmation_instructions"}
# What has been done to an account, for whoever it belongs to.
NOTICES = {"reset_notice", "change_notice"}


class OutboxMailUtil(MailUtil):
    def send_mail(  # type: ignore[override]  # the library calls by position; what it has rendered is not named here
        self, template: str, _subject: Any, recipient: Any, *_rendered: Any, **context: Any
    ) -> None:
        """Save our own message for the library's `template`; what it has rendered itself is not used.

        The message is made whether it is to be sent or not, and then nobody can tell by the time that takes.
        """
        message = _message(template, str(recipient), context)
        user = context.get("user")
        if user is not None and not user.id:
            return  # written to nobody: see `accounts.door_forms`
        if message.name in ASKED_BY_STRANGERS and not throttle.may_mail(message.recipient, message.name):
            return
        if _name(template) in NOTICES and user is not None:
            notify_person(user.id, message, link=own_address("accounts.security"))
        else:
            put_mail(message)
        if _name(template) in SAVED_FOR_THE_KNOWN:
            db.session.execute(text("set local synchronous_commit to off"))
        # Some of the library's views send without saving anything, and so would not commit.
        after_this_request(_commit)


def _commit(response: Response) -> Response:
    unit_of_work.commit()
    return response


def _message(template: str, recipient: str, context: dict[str, Any]) -> messages.Message:
    name = _name(template)
    if name in {"welcome", "confirmation_instructions"}:
        return messages.confirm_email(recipient, _own(context["confirmation_link"]))
    if name == "reset_instructions":
        return messages.reset_password(recipient, _own(context["reset_link"]))
    if name in NOTICES:
        return messages.password_reset_notice(recipient, own_address("security.forgot_password"))
    if name == "welcome_existing":
        link = context.get("confirmation_link")
        return messages.already_registered(recipient, _own(link) if link else own_address("security.login"))
    raise LookupError(f"no message of ours for the mail {template!r}")


def _name(template: str) -> str:
    return template.rsplit("/", 1)[-1]


def _own(link: str) -> str:
    """The link under the configured origin: the library's are made of what the request says our host is."""
    parts = urlsplit(link)
    return str(current_app.config["SETTINGS"].base_url) + parts._replace(scheme="", netloc="").geturl()
