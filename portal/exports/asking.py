"""Asking for an export: what may be asked for, how often, and what is kept of the wish."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Interval, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from portal.accounts import audit
from portal.accounts.models import Team
from portal.core import clock, jobs
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.exporting import Wanted
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit
from portal.exports.models import OPEN, Export
from portal.exports.registry import sources

KEPT_FOR = timedelta(days=7)
PER_DAY = 20
DAYS = ("since", "until")


class OneIsRunning(Exception):
    """The team has an export that is not finished."""


class TooManyToday(Exception):
    """The team has asked for `PER_DAY` within a day."""


def narrowed_by(source: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """Those of the arguments that narrow the list; everything else in an address or a form is no business of ours."""
    known = (*sources()[source].labels, *sources()[source].instants, *DAYS)
    return {name: arguments[name] for name in known if arguments.get(name)}


def ask(team: Team, user_id: str, source: str, file_format: str, arguments: Mapping[str, str], zone: str) -> str:
    """Save the wish, in the current unit; returns its id. Raises `OneIsRunning`, `TooManyToday`, and what the list does
    for arguments that it does not offer.
    """
    narrowed = narrowed_by(source, arguments)
    sources()[source].rows(Wanted(team.id, zone, narrowed, clock.now()))
    today = select(func.count()).where(Export.team_id == team.id, Export.created_at > app_now() - _span(days=1))
    if db.session.execute(today).scalar_one() >= PER_DAY:
        raise TooManyToday
    values = {
        "id": new_id("exp"), "team_id": team.id, "user_id": user_id, "source": source, "format": file_format,
        "arguments": narrowed, "time_zone": zone, "state": "waiting", "expires_at": app_now() + _span(days=KEPT_FOR.days),
    }  # fmt: skip
    # The index that lets a team have one open export decides between two who ask at once.
    saved = insert(Export).values(values).on_conflict_do_nothing(index_elements=["team_id"], index_where=text(OPEN))
    export_id = db.session.execute(saved.returning(Export.id)).scalar()
    if export_id is None:
        raise OneIsRunning
    audit.record(
        audit.by_user(user_id), "export.asked", team_id=team.id, target=export_id, list=source, format=file_format
    )
    after_commit(jobs.hint_soon)
    return export_id


def _span(days: int) -> object:
    return cast(literal(timedelta(days=days)), Interval)
