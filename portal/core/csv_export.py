"""Tables as CSV files: safe to open in a spreadsheet, written row by row however long they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from flask import Response, stream_with_context

# A spreadsheet takes text that begins like this for a formula; the wide forms are what Asian keyboards type.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  the wide forms are meant


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A download called `<name>.csv`. Numbers stay numbers, moments are written exactly, text can be no formula.

    `rows` is read while the answer is being sent, in the request's context. A reader may be slow, so a long list must
    not keep one transaction open: read it in pages and end each read.
    """
    answer = Response(stream_with_context(csv_lines(header, rows)), mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{name}.csv")
    return answer


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of the file, its header first."""
    line = io.StringIO()
    writer = csv.writer(line)
    for row in _with_header(header, rows):
        writer.writerow([cell(value) for value in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _with_header(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[Sequence[object]]:
    yield header
    yield from rows


def cell(value: object) -> object:
    """What stands in the file for a value; only text can be a formula, so `-5` as a number stays as it is."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA_STARTS) else value
    return value
