"""Reading the audit trail: a team's for its owners, a person's own for the person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select

from portal.accounts.audit_words import action_words, detail_words
from portal.accounts.devices import device_words
from portal.accounts.models import ApiKey, AuditEntry, User
from portal.core.database import db
from portal.core.pagination import count_rows

PAGE = 50
PERSON_EVENTS_SHOWN = 20


@dataclass(frozen=True)
class AuditRow:
    id: str
    at: datetime
    actor: str
    action: str
    words: str
    detail: str
    target: str | None
    ip: str | None
    device: str
    request_id: str | None


@dataclass(frozen=True)
class Filters:
    """What the reader wants to see: an action, an actor's id, and from when until (not including) when."""

    action: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Newest first. `newer` and `older` are the cursors of the pages beside this one, if there are any."""

    rows: list[AuditRow]
    newer: str | None
    older: str | None


def page_of_team(team_id: str, filters: Filters, *, before: str | None = None, after: str | None = None) -> Page:
    """The page that ends just before, or begins just after, an entry's id; without either the newest."""
    query = _of_team(team_id, filters)
    if after:
        found = _all(query.where(AuditEntry.id > after).order_by(AuditEntry.id).limit(PAGE + 1))
        more_newer, more_older = len(found) > PAGE, True
        found = found[:PAGE][::-1]
    else:
        if before:
            query = query.where(AuditEntry.id < before)
        found = _all(query.order_by(AuditEntry.id.desc()).limit(PAGE + 1))
        more_newer, more_older = bool(before), len(found) > PAGE
        found = found[:PAGE]
    if not found:
        return Page([], newer=None, older=None)
    return Page(_rows(found), found[0].id if more_newer else None, found[-1].id if more_older else None)


def count_of_team(team_id: str, filters: Filters, at_most: int) -> int:
    return count_rows(_of_team(team_id, filters), at_most)


def part_of_team(team_id: str, filters: Filters, after: str | None, limit: int) -> list[AuditRow]:
    """The `limit` entries before the entry `after`, newest first."""
    query = _of_team(team_id, filters)
    older = query.where(AuditEntry.id < after) if after else query
    return _rows(_all(older.order_by(AuditEntry.id.desc()).limit(limit)))


def choices_of_team(team_id: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The actions and the actors that occur in the team's trail, with their words, for the filters."""
    actions = db.session.execute(select(AuditEntry.action).where(AuditEntry.team_id == team_id).distinct()).scalars()
    actors = db.session.execute(
        select(AuditEntry.actor_kind, AuditEntry.actor_id).where(AuditEntry.team_id == team_id).distinct()
    ).all()
    names = _names([actor_id for _, actor_id in actors if actor_id])
    by_words = sorted((action_words(action), action) for action in actions)
    by_name = sorted((_actor(kind, actor_id, names), actor_id or "system") for kind, actor_id in actors)
    return [(action, words) for words, action in by_words], [(actor, name) for name, actor in by_name]


def events_of_person(user_id: str) -> list[AuditRow]:
    """What was lately done by the person for themselves, and tried in their name; nothing of their teams."""
    theirs = or_(AuditEntry.actor_id == user_id, AuditEntry.target == user_id)
    query = select(AuditEntry).where(AuditEntry.team_id.is_(None), theirs)
    return _rows(_all(query.order_by(AuditEntry.id.desc()).limit(PERSON_EVENTS_SHOWN)))


def _of_team(team_id: str, filters: Filters) -> Select[AuditEntry]:
    where: list[ColumnElement[bool]] = [AuditEntry.team_id == team_id]
    if filters.action:
        where.append(AuditEntry.action == filters.action)
    if filters.actor == "system":
        where.append(AuditEntry.actor_kind == "system")
    elif filters.actor:
        where.append(AuditEntry.actor_id == filters.actor)
    if filters.since:
        where.append(AuditEntry.at >= filters.since)
    if filters.until:
        where.append(AuditEntry.at < filters.until)
    return select(AuditEntry).where(*where)


def _all(query: Select[AuditEntry]) -> list[AuditEntry]:
    return list(db.session.execute(query).scalars())


def _rows(entries: list[AuditEntry]) -> list[AuditRow]:
    names = _names([entry.actor_id for entry in entries if entry.actor_id])
    return [_row(entry, names) for entry in entries]


def _row(entry: AuditEntry, names: dict[str, str]) -> AuditRow:
    return AuditRow(
        id=entry.id,
        at=entry.at,
        actor=_actor(entry.actor_kind, entry.actor_id, names),
        action=entry.action,
        words=action_words(entry.action),
        detail=detail_words(entry.detail),
        target=entry.target,
        ip=entry.ip,
        device=device_words(entry.user_agent) if entry.user_agent else "",
        request_id=entry.request_id,
    )


def _actor(kind: str, actor_id: str | None, names: dict[str, str]) -> str:
    if actor_id is None:
        return "Turnpike"
    return names.get(actor_id) or {"key": "A former key", "user": "A former person"}[kind]


def _names(ids: list[str]) -> dict[str, str]:
    """Names of the people and keys with these ids."""
    people = db.session.execute(select(User).where(User.id.in_(ids))).scalars()
    keys = db.session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(ids))).all()
    return {user.id: user.display_name for user in people} | {key.id: f"Key “{key.name}”" for key in keys}
