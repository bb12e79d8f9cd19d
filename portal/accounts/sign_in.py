"""What signing in and out leave behind: the session's row, the cookie's contents, an entry in the audit trail."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, after_this_request, g, request, session
from flask_login import current_user
from flask_login.signals import user_logged_in, user_logged_out
from flask_security.signals import user_authenticated
from sqlalchemy import text

from portal.accounts import audit, sessions
from portal.accounts.models import User
from portal.core import unit_of_work
from portal.core.database import db
from portal.core.reader import Reader

TOKEN = "sid"  # noqa: S105  the cookie's name for it
# What the login library has just written about the person; all else in the cookie is from before and goes.
LIBRARY_KEYS = {"_user_id", "_fresh", "_id"}


def init_sign_in(app: Flask, login_manager: Any) -> None:
    user_logged_in.connect(_signed_in, app)
    user_authenticated.connect(_authenticated, app)
    user_logged_out.connect(_signed_out, app)
    login_manager.user_loader(_signed_in_user)


def current_session() -> sessions.Found | None:
    """The session this request was made in; None for anonymous visitors."""
    if current_user.is_authenticated:  # asking for the person is what finds the session
        return g.get("user_session")
    return None


def session_in_use() -> sessions.Found | None:
    """The same, but only if something in this request has asked who it is."""
    return g.get("user_session")


def _signed_in_user(uniquifier: str) -> User | None:
    token = session.get(TOKEN)
    found = sessions.find(token, uniquifier) if token else None
    if found is None:
        return None
    g.user_session = found
    g.person = Reader(time_zone=found.user.time_zone, locale=found.user.locale)
    g.fs_authn_via = "session"
    # The library compares with the real time, whatever ours says: it gets the age that ours has seen.
    g.fs_paa = time.time() - found.proof_age.total_seconds()
    return found.user


def _signed_in(_app: Flask, user: User) -> None:
    """A new session with a new token, and nothing of the old one: neither its form token nor what it remembered.

    The library means to set a second cookie for "keep me signed in", which no row could end; the session lasts longer
    instead.
    """
    before = session_in_use()
    kept = session.pop("_remember", None) == "set" or (before is not None and before.user is user and before.kept)
    for key in set(session) - LIBRARY_KEYS:
        session.pop(key)
    g.pop("csrf_token", None)
    session[TOKEN] = sessions.begin(user, kept=kept, ip=request.remote_addr, user_agent=audit.user_agent())
    session.permanent = kept


def _authenticated(_app: Flask, user: User, authn_via: list[str] | None = None, **_library: Any) -> None:
    """Not when the library renews a session because its person has changed the password."""
    if authn_via != ["change"]:
        audit.record(audit.by_user(user.id), "user.signed_in")


def _signed_out(_app: Flask, **_library: Any) -> None:
    """The library saves nothing when somebody signs out, so it is asked to."""
    session.clear()
    found = session_in_use()
    if found is not None:
        sessions.end(found.user.id, found.id)
        audit.record(audit.by_user(found.user.id), "user.signed_out")
        after_this_request(_commit)


def note_failure(user: User, step: str) -> None:
    """Keep that somebody failed to come in as this person, though the library saves nothing then.

    Nobody is to read from the time an answer takes whether there is such a person: this commit does not wait for the
    disk.
    """
    audit.record(audit.SYSTEM, "user.sign_in_failed", target=user.id, step=step)
    db.session.execute(text("set local synchronous_commit to off"))
    after_this_request(_commit)


def _commit(response: Response) -> Response:
    unit_of_work.commit()
    return response
