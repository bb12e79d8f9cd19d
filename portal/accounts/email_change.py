"""A new address for a person: asked for by whoever gave the password, proven by whoever reads its mail.

Until the mailed link is used the old address stays. Only the newest link counts, once, for an hour; the row keeps its
digest.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Interval, cast, func, literal, select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import User
from portal.core.clock import app_now
from portal.core.database import db

LINK_LASTS = timedelta(hours=1)
TOKEN_BYTES = 32


class LinkOver(Exception):
    """The link was used, replaced, withdrawn, is too old, or the address has meanwhile become somebody else's."""


@dataclass(frozen=True)
class Changed:
    user: User
    before: str
    after: str


def ask(user: User, email: str) -> str | None:
    """Remember the wish and return the token for the mailed link; None when the address belongs to somebody else.

    Either way the page shows the same, so the wish is kept, and with it a digest that no token has.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    taken = _is_taken(email, user)
    user.new_email, user.new_email_digest = email, _digest(secrets.token_urlsafe(TOKEN_BYTES) if taken else token)
    user.new_email_until = db.session.execute(select(app_now() + cast(literal(LINK_LASTS), Interval))).scalar_one()
    db.session.flush()
    return None if taken else token


def withdraw(user: User) -> None:
    user.new_email = user.new_email_digest = user.new_email_until = None


def pending(token: str, *, locked: bool = False) -> User:
    """The person whom the link is about. Raises `LinkOver`."""
    query = select(User).where(User.new_email_digest == _digest(token), User.new_email_until > app_now(), User.active)
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    user = db.session.execute(query).scalar_one_or_none()
    if user is None or user.new_email is None or _is_taken(user.new_email, user):
        raise LinkOver
    return user


def apply(token: str) -> Changed:
    """Take the new address. Ends every link that is under way; the caller ends the sessions. Raises `LinkOver`."""
    user = pending(token, locked=True)
    assert user.new_email is not None
    changed = Changed(user, before=user.email, after=user.new_email)
    user.email, user.confirmed_at = user.new_email, db.session.execute(select(app_now())).scalar_one()
    user.reset_digest = None
    withdraw(user)
    try:
        db.session.flush()
    except IntegrityError:  # somebody signed up with it this very moment
        raise LinkOver from None
    return changed


def _is_taken(email: str, user: User) -> bool:
    others = select(User.id).where(func.lower(User.email) == email.lower(), User.id != user.id)
    return db.session.execute(others).first() is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
