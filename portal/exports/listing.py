"""A team's exports as the page shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.accounts.models import User
from portal.core.database import db
from portal.core.exporting import Export as Source
from portal.core.exporting import read_instant
from portal.core.times import moment_words
from portal.exports.making import FORMAT_WORDS, failure_words
from portal.exports.models import Export
from portal.exports.registry import sources

SHOWN_MAX = 50
ARGUMENT_WORDS = {
    "type": "type:", "status": "state:", "kind": "kind:", "action": "what:", "actor": "who:", "meter": "feature:", "key": "API key:",
    "member": "member:", "begin": "from", "end": "until just before", "since": "from", "until": "to",
}  # fmt: skip


@dataclass(frozen=True)
class ExportRow:
    """`percent` is None until it is known how many rows there are; `failure` is why there is no file."""

    id: str
    title: str
    format: str
    narrowed: str
    asked_by: str
    state: str
    rows_done: int
    rows_total: int | None
    size_bytes: int
    failure: str
    created_at: datetime
    expires_at: datetime

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running")


def rows_of(team_id: str, visible: Collection[str], export_id: str | None = None) -> list[ExportRow]:
    """The newest of the team's exports of these lists, or the one with this id."""
    query = select(Export, User).join(User, User.id == Export.user_id)
    query = query.where(Export.team_id == team_id, Export.source.in_(visible))
    if export_id is not None:
        query = query.where(Export.id == export_id)
    newest = query.order_by(Export.created_at.desc(), Export.id.desc()).limit(SHOWN_MAX)
    return [_row(export, user) for export, user in db.session.execute(newest)]


def narrowed_words(source: str, arguments: Mapping[str, str]) -> str:
    """`state: Paid, from 2026-11-01`; a value without words of its own is one that stood in the list."""
    return ", ".join(
        f"{words} {_value_words(sources()[source], name, arguments)}"
        for name, words in ARGUMENT_WORDS.items()
        if name in arguments
    )


def _value_words(source: Source, name: str, arguments: Mapping[str, str]) -> str:
    if name in source.instants:
        at = read_instant(arguments, name)
        return moment_words(at, "UTC", seconds=True) if at else ""
    if name in source.labels:
        return source.labels[name].get(arguments[name], "as chosen in the list")
    return arguments[name]


def _row(export: Export, user: User) -> ExportRow:
    return ExportRow(
        id=export.id,
        title=sources()[export.source].title,
        format=FORMAT_WORDS[export.format],
        narrowed=narrowed_words(export.source, export.arguments),
        asked_by=user.display_name,
        state=export.state,
        rows_done=export.rows_done,
        rows_total=export.rows_total,
        size_bytes=export.size_bytes or 0,
        failure=failure_words(export.failure, export.format) if export.failure else "",
        created_at=export.created_at,
        expires_at=export.expires_at,
    )
