"""Rows as an Excel workbook: one sheet with a head that stays in view, numbers as numbers, moments as dates in UTC.

Text is written as text, so that nothing in it can become a formula or a link; unlike in CSV no sign has to be put before it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Any

from xlsxwriter import Workbook

from portal.core.exporting import Column

PIECE_BYTES = 512 * 1024
# The most a cell may hold.
TEXT_CHARACTERS_MAX = 32_767
WIDTHS = {"moment": 20, "number": 14, "text": 24}


@contextmanager
def workbook_pieces(title: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[Iterator[bytes]]:
    """The file of `rows`, the first of which is the head, in pieces. Values are what JSON keeps of a row: moments and
    decimals are strings.
    """
    with tempfile.TemporaryFile() as file:
        # Rows go to the disk as they come, so that a long list takes no memory.
        with Workbook(file, {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
            _write(book, title, columns, iter(rows))
        file.seek(0)
        yield _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _write(book: Workbook, title: str, columns: Sequence[Column], rows: Iterator[Sequence[Any]]) -> None:
    sheet = book.add_worksheet(title[:31])
    head, formats = book.add_format({"bold": True}), _Formats(book)
    for place, column in enumerate(columns):
        sheet.set_column(place, place, WIDTHS[column.kind])
        sheet.write_string(0, place, _head_words(column), head)
    next(rows)
    sheet.freeze_panes(1, 0)
    number = 0
    for number, row in enumerate(rows, start=1):
        for place, (column, value) in enumerate(zip(columns, row, strict=True)):
            _write_cell(sheet, formats, number, place, column, value)
    sheet.autofilter(0, 0, number, len(columns) - 1)


def _head_words(column: Column) -> str:
    return f"{column.title} (UTC)" if column.kind == "moment" else column.title


def _write_cell(sheet: Any, formats: _Formats, row: int, place: int, column: Column, value: Any) -> None:
    if value is None:
        return
    if column.kind == "moment":
        moment = datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None)
        sheet.write_datetime(row, place, moment)
    elif column.kind == "number":
        number = Decimal(value)
        sheet.write_number(row, place, number, formats.of(number))
    else:
        sheet.write_string(row, place, str(value)[:TEXT_CHARACTERS_MAX])


class _Formats:
    """Formats of numbers by how many places they have: 12.50 is not 12.5 to whoever reads an amount."""

    def __init__(self, book: Workbook) -> None:
        self._book, self._known = book, {}  # type: ignore[var-annotated]

    def of(self, number: Decimal) -> Any:
        exponent = number.as_tuple().exponent
        places = -exponent if isinstance(exponent, int) and exponent < 0 else 0
        if places not in self._known:
            pattern = "#,##0" + ("." + "0" * places if places else "")
            self._known[places] = self._book.add_format({"num_format": pattern})
        return self._known[places]
