"""Making the files, a step at a time: each step is one unit that adds the next rows and says how far the export has come.

A worker that dies in a step leaves what the step before it left, and the next one goes on from there. The row of the export
is locked while a step runs, so two workers never do the same one. Between steps the worker looks at its other work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import structlog
from sqlalchemy import Interval, cast, delete, func, insert, literal, select
from sqlalchemy.orm import Session

from portal.core.addresses import own_address
from portal.core.clock import app_now
from portal.core.csv_export import csv_lines
from portal.core.database import db
from portal.core.exporting import Export as Source
from portal.core.exporting import Row, Wanted
from portal.core.stopping import stopping
from portal.core.unit_of_work import unit_of_work
from portal.exports.models import Export, ExportPart
from portal.exports.registry import sources
from portal.exports.workbook import workbook_pieces
from portal.notifications.notify import Note, notify_in_app

log = structlog.get_logger(__name__)

ROWS_A_STEP = 2_000
# A workbook is put together in one step, and more rows than this would take longer than a step may.
ROWS_MAX = {"csv": 1_000_000, "xlsx": 50_000}
ATTEMPTS_MAX = 5
FORMAT_WORDS = {"csv": "CSV", "xlsx": "Excel"}


class TooLong(Exception):
    """There are more rows than a file of this format may have."""


def drain(at_most: int) -> int:
    """Take steps until no export is due, `at_most` were taken, or this process is to end; returns how many."""
    done = 0
    while done < at_most and not stopping() and _step():
        done += 1
    return done


def forget_old() -> int:
    """Delete exports whose time is over, with their files."""
    gone = delete(Export).where(Export.expires_at <= app_now()).returning(Export.id)
    return len(db.session.execute(gone.execution_options(synchronize_session=False)).all())


def _step() -> bool:
    """The next step of the export that waits for longest; whether there was one."""
    export_id: str | None = None
    try:
        with unit_of_work() as session:
            export = _claim(session)
            if export is None:
                return False
            export_id = export.id
            _advance(export)
    except Exception as error:
        if export_id is None:
            raise
        log.exception("export_step_failed", export_id=export_id)
        with unit_of_work():
            _note_failure(export_id, "too_long" if isinstance(error, TooLong) else "error")
    return True


def _claim(session: Session) -> Export | None:
    query = (
        select(Export)
        .where(Export.state.in_(("waiting", "running")), Export.run_at <= app_now())
        .order_by(Export.run_at, Export.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return session.execute(query).scalar_one_or_none()


def _advance(export: Export) -> None:
    source = sources()[export.source]
    rows = source.rows(Wanted(export.team_id, export.time_zone, export.arguments, export.created_at))
    if export.state == "waiting":
        most = ROWS_MAX[export.format]
        export.rows_total = rows.count(most + 1)
        if export.rows_total > most:
            raise TooLong
        export.state = "running"
        _add_part(export, [[column.title for column in source.columns]])
    else:
        part = rows.part(export.cursor, ROWS_A_STEP)
        _add_part(export, part.rows)
        export.rows_done, export.cursor = export.rows_done + len(part.rows), part.last
        if part.last is None:
            _finish(export, source)
    # Whoever else waits comes first.
    export.attempts, export.run_at = 0, app_now()


def _add_part(export: Export, rows: list[Row]) -> None:
    if rows:
        number = select(func.count()).where(ExportPart.export_id == export.id)
        data = csv_lines(rows) if export.format == "csv" else json.dumps(rows, default=str)
        _put(export, db.session.execute(number).scalar_one(), data.encode())


def _put(export: Export, number: int, data: bytes) -> None:
    """By a plain statement: the session would keep every part in memory."""
    db.session.execute(insert(ExportPart).values(export_id=export.id, number=number, data=data))


def _finish(export: Export, source: Source) -> None:
    if export.format == "xlsx":
        _put_workbook(export, source)
    size = select(func.sum(func.octet_length(ExportPart.data))).where(ExportPart.export_id == export.id)
    size_bytes = db.session.execute(size).scalar_one()
    # What a row is may have changed while the list was read, so the promise is corrected by what came of it.
    export.rows_total, export.size_bytes = export.rows_done, size_bytes
    export.state, export.finished_at = "done", app_now()
    rows = f"{export.rows_done:,} row{'' if export.rows_done == 1 else 's'}"
    _tell(export, "export_ready", f"Your export is ready: {source.title}", f"{rows} as {FORMAT_WORDS[export.format]}.")


def _put_workbook(export: Export, source: Source) -> None:
    """In place of the rows it is made of."""
    rows = (row for part in parts_of(export.id) for row in json.loads(part))
    with workbook_pieces(source.title, source.columns, rows) as pieces:
        db.session.execute(delete(ExportPart).where(ExportPart.export_id == export.id))
        for number, piece in enumerate(pieces):
            _put(export, number, piece)


def parts_of(export_id: str) -> Iterator[bytes]:
    """The parts in their order, one at a time."""
    numbers = select(ExportPart.number).where(ExportPart.export_id == export_id).order_by(ExportPart.number)
    for number in db.session.execute(numbers).scalars().all():
        of_number = select(ExportPart.data).where(ExportPart.export_id == export_id, ExportPart.number == number)
        yield db.session.execute(of_number).scalar_one()


def _note_failure(export_id: str, reason: str) -> None:
    """Try again later, and give up in the end: nothing of it is offered then."""
    export = db.session.execute(select(Export).where(Export.id == export_id).with_for_update()).scalar_one_or_none()
    if export is None:
        return
    export.attempts += 1
    if reason == "error" and export.attempts < ATTEMPTS_MAX:
        export.run_at = app_now() + cast(literal(timedelta(seconds=5 * 4**export.attempts)), Interval)
        return
    db.session.execute(delete(ExportPart).where(ExportPart.export_id == export.id))
    export.state, export.failure, export.finished_at = "failed", reason, app_now()
    _tell(export, "export_failed", "Your export could not be made", failure_words(reason, export.format))


def failure_words(reason: str, file_format: str) -> str:
    if reason == "too_long":
        words = f"It would have more than {ROWS_MAX[file_format]:,} rows. Ask for fewer days"
        return f"{words}, or for CSV." if file_format == "xlsx" else f"{words}."
    return "Something went wrong on our side, and we have been told. Ask for it again."


def _tell(export: Export, message: str, title: str, words: str) -> None:
    link = own_address("exports.exports", team_id=export.team_id)
    notify_in_app(export.user_id, Note(message, title, words, link), f"export:{export.id}", export.team_id)
