"""CSV files: what a spreadsheet and a program read from them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from portal.core.csv_export import csv_lines


def read_back(*rows: list[object]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(csv_lines([["a", "b"], *rows]), newline="")))


@pytest.mark.parametrize(
    "text",
    ['=HYPERLINK("http://evil.example")', "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"],  # noqa: RUF001  a wide sign is what is tested
)
def test_s59_text_cannot_become_a_formula(text: str) -> None:
    assert read_back([text, "x"]) == [["a", "b"], ["'" + text, "x"]]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (-5, "-5"),
        (Decimal("-12.50"), "-12.50"),
        ("Harbor, “Analytics”", "Harbor, “Analytics”"),
        ('two\nlines and "quotes"', 'two\nlines and "quotes"'),
        (datetime(2026, 11, 25, 12, 0, 3, tzinfo=timezone(timedelta(hours=1))), "2026-11-25T11:00:03Z"),
        (datetime(2026, 11, 25, tzinfo=UTC), "2026-11-25T00:00:00Z"),
    ],
)
def test_values_keep_their_meaning(value: object, written: str) -> None:
    assert read_back([value, 1])[1] == [written, "1"]
