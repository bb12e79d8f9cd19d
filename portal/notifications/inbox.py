"""A person's inbox: what they may see of it, how much is unread, and what becomes of an entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, cast, delete, exists, func, literal, or_, select, update

from portal.accounts.models import Membership, Team
from portal.core.authz import Action, Role, may
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.pagination import Listing
from portal.notifications.kinds import KINDS
from portal.notifications.models import Notification

# More is not counted: nobody reads the difference.
UNREAD_MAX = 99
KEPT_FOR = timedelta(days=180)
SWEPT_AT_ONCE = 5_000


@dataclass(frozen=True)
class Filters:
    """What of the inbox is shown. `history`: dismissed entries too."""

    severity: str | None = None
    history: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """As they stand in an address."""
        chosen = {"severity": self.severity, "show": "all" if self.history else None}
        return {name: value for name, value in chosen.items() if value}


def listing(user_id: str, filters: Filters) -> Listing[Notification]:
    query = select(Notification).where(_visible(user_id))
    if not filters.history:
        query = query.where(Notification.dismissed_at.is_(None))
    if filters.severity:
        query = query.where(Notification.severity == filters.severity)
    return Listing(Notification, Notification.created_at, query, user_id=user_id)


def team_names(entries: list[Notification]) -> dict[str, str]:
    ids = {entry.team_id for entry in entries if entry.team_id}
    query = select(Team.id, Team.name).where(Team.id.in_(ids))
    return {row.id: row.name for row in db.session.execute(query)} if ids else {}


def unread_count(user_id: str) -> int:
    """How many entries are new, at most one more than `UNREAD_MAX`."""
    unread = select(Notification.id).where(_visible(user_id), Notification.read_at.is_(None)).limit(UNREAD_MAX + 1)
    return db.session.execute(select(func.count()).select_from(unread.subquery())).scalar_one()


def find(user_id: str, entry_id: str) -> Notification | None:
    query = select(Notification).where(_visible(user_id), Notification.id == entry_id.replace("\x00", ""))
    return db.session.execute(query).scalar_one_or_none()


def mark_read(user_id: str, entry_id: str | None = None) -> int:
    """One entry, or all; how many were unread before."""
    return _set(user_id, entry_id, Notification.read_at.is_(None), read_at=app_now())


def dismiss(user_id: str, entry_id: str | None = None) -> int:
    """Put one entry, or all, into the history."""
    read_at = func.coalesce(Notification.read_at, app_now())
    return _set(user_id, entry_id, Notification.dismissed_at.is_(None), read_at=read_at, dismissed_at=app_now())


def sweep() -> int:
    """Forget what is older than `KEPT_FOR`, a part at a time."""
    old = select(Notification.id).where(Notification.created_at < app_now() - cast(literal(KEPT_FOR), Interval))
    gone = delete(Notification).where(Notification.id.in_(old.limit(SWEPT_AT_ONCE))).returning(Notification.id)
    return len(db.session.execute(gone.execution_options(synchronize_session=False)).all())


def _set(user_id: str, entry_id: str | None, due: ColumnElement[bool], **values: object) -> int:
    """Only what the person may see: what came back with a role is as they left it."""
    where = [_visible(user_id), due]
    if entry_id is not None:
        where.append(Notification.id == entry_id)
    changed = update(Notification).where(*where).values(**values).returning(Notification.id)
    return len(db.session.execute(changed.execution_options(synchronize_session=False)).all())


def _visible(user_id: str) -> ColumnElement[bool]:
    """The person's own entries, and those of teams in which their role lets them see such news now."""
    allowed = [
        Notification.kind.in_(kinds)
        & exists().where(
            Membership.team_id == Notification.team_id,
            Membership.user_id == user_id,
            Membership.role.in_([role.value for role in Role if may(role, action)]),
        )
        for action, kinds in _kinds_by_action()
    ]
    return (Notification.user_id == user_id) & or_(Notification.team_id.is_(None), *allowed)


def _kinds_by_action() -> Iterator[tuple[Action, list[str]]]:
    for action in {kind.action for kind in KINDS.values()} - {None}:
        assert action is not None
        yield action, [name for name, kind in KINDS.items() if kind.action is action]
