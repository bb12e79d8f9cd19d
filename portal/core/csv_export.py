"""Rows as lines of CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

# A spreadsheet takes text that begins like this for a formula; the wide forms are what Asian keyboards type.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  the wide forms are meant


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Numbers stay numbers, moments are written exactly, text can be no formula."""
    lines = io.StringIO()
    csv.writer(lines).writerows([cell(value) for value in row] for row in rows)
    return lines.getvalue()


def cell(value: object) -> object:
    """What stands in the file for a value; only text can be a formula, so `-5` as a number stays as it is."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA_STARTS) else value
    return value
