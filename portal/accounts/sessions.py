"""Sign-ins as rows, so that ending one is a delete that the next request feels, on whatever device.

The cookie stays Flask's own signed one, which anonymous visitors have too (for the token of their form). Once somebody
signs in it also carries a random token; the row with the token's digest says whose session it is and until when. So a
key that is rotated out ends what it has signed, and a copied cookie is worth nothing once its row is gone.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, cast, delete, func, literal, or_, select, update

from portal.accounts.devices import device_words
from portal.accounts.models import User, UserSession
from portal.core.clock import app_now
from portal.core.database import db

# Without "keep me signed in" a session ends when nobody uses it, and after a day whatever happens.
IDLE = timedelta(hours=8)
LASTS = timedelta(hours=24)
KEPT_LASTS = timedelta(days=14)
SEEN_EVERY = timedelta(minutes=1)
# More devices than anybody has; the one unused for longest gives way.
PER_PERSON_MAX = 50
TOKEN_BYTES = 32


@dataclass(frozen=True)
class Found:
    """The session that a token opens. `proof_age` is how long ago its person last gave the password."""

    id: str
    user: User
    proof_age: timedelta
    seen_lately: bool
    kept: bool


@dataclass(frozen=True)
class SessionRow:
    """A session as the page of sessions shows it."""

    id: str
    device: str
    ip: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


def begin(user: User, *, kept: bool, ip: str | None, user_agent: str | None) -> str:
    """Start a session and return its token, which goes into the cookie and nowhere else."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    db.session.flush()  # the user may be as new as the session
    db.session.add(
        UserSession(
            user_id=user.id,
            digest=_digest(token),
            kept=kept,
            expires_at=app_now() + _span(KEPT_LASTS if kept else LASTS),
            ip=ip,
            user_agent=user_agent,
        )
    )
    db.session.flush()
    newest = select(UserSession.id).where(UserSession.user_id == user.id)
    newest = newest.order_by(UserSession.last_seen_at.desc(), UserSession.id.desc()).limit(PER_PERSON_MAX)
    _delete(UserSession.user_id == user.id, UserSession.id.not_in(newest))
    return token


def find(token: str, uniquifier: str) -> Found | None:
    """The live session of `token`, if its person is active and still has the `uniquifier` the session began with."""
    age = func.greatest(app_now() - UserSession.proven_at, cast(literal(timedelta()), Interval), type_=Interval())
    query = (
        select(UserSession.id, User, age, UserSession.last_seen_at > app_now() - _span(SEEN_EVERY), UserSession.kept)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.digest == _digest(token), _live(), User.fs_uniquifier == uniquifier, User.active)
    )
    found = db.session.execute(query).one_or_none()
    return Found(*found) if found else None


def note_seen(session_id: str, ip: str | None) -> None:
    """Remember that the session was used; of many requests at once, one writes and none waits."""
    due = (
        select(UserSession.id)
        .where(UserSession.id == session_id, UserSession.last_seen_at <= app_now() - _span(SEEN_EVERY))
        .with_for_update(skip_locked=True)
    )
    db.session.execute(
        update(UserSession)
        .where(UserSession.id == due.scalar_subquery())
        .values(last_seen_at=app_now(), ip=ip)
        .execution_options(synchronize_session=False)
    )


def note_proof(session_id: str) -> None:
    """The person has just given their password again."""
    db.session.execute(update(UserSession).where(UserSession.id == session_id).values(proven_at=app_now()))


def end(user_id: str, session_id: str) -> bool:
    """End one session of the person; whether there was one to end."""
    return _delete(UserSession.user_id == user_id, UserSession.id == session_id) == 1


def end_others(user_id: str, session_id: str | None) -> int:
    """End all sessions of the person but this one (with None: all), and return how many those were."""
    return _delete(UserSession.user_id == user_id, UserSession.id != (session_id or ""))


def sessions_of(user_id: str, current_id: str | None) -> list[SessionRow]:
    """The person's live sessions: this one, then the others by last use."""
    query = (
        select(UserSession)
        .where(UserSession.user_id == user_id, _live())
        .order_by((UserSession.id == (current_id or "")).desc(), UserSession.last_seen_at.desc(), UserSession.id)
        .execution_options(populate_existing=True)
    )
    return [_row(session, current_id) for session in db.session.execute(query).scalars()]


def sweep() -> int:
    """Delete what has ended by itself."""
    return _delete(~_live())


def _live() -> ColumnElement[bool]:
    in_use = or_(UserSession.kept, UserSession.last_seen_at > app_now() - _span(IDLE))
    return (UserSession.expires_at > app_now()) & in_use


def _span(length: timedelta) -> ColumnElement[timedelta]:
    return cast(literal(length), Interval)


def _delete(*where: ColumnElement[bool]) -> int:
    gone = delete(UserSession).where(*where).returning(UserSession.id).execution_options(synchronize_session=False)
    return len(db.session.execute(gone).all())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _row(session: UserSession, current_id: str | None) -> SessionRow:
    return SessionRow(
        id=session.id,
        device=device_words(session.user_agent),
        ip=session.ip,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
        current=session.id == current_id,
    )
