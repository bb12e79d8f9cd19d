"""CSV files: what a spreadsheet and a program read from them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from flask import Flask

from portal.core.csv_export import csv_answer, csv_lines


def read_back(*rows: list[object]) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(csv_lines(["a", "b"], rows)), newline="")))


@pytest.mark.parametrize(
    "text",
    ['=HYPERLINK("http://evil.example")', "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"],  # noqa: RUF001
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


def test_the_answer_is_a_download_with_a_name() -> None:
    app = Flask(__name__)
    with app.test_request_context():
        answer = csv_answer("audit", ["a"], ([number] for number in range(2)))
        assert answer.mimetype == "text/csv"
        assert answer.headers["Content-Disposition"] == "attachment; filename=audit.csv"
        assert answer.get_data(as_text=True) == "a\r\n0\r\n1\r\n"
