"""Exports in tests: asked for by the form, made by the worker's own steps, fetched and read as their readers would."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

from sqlalchemy import select

from portal.core.database import db
from portal.exports import making
from portal.exports.models import Export
from tests.cast import Person

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def ask(person: Person, team_id: str, of: str, file_format: str = "csv", **narrowed: str) -> int:
    """Send the form; returns the status of the answer."""
    form = {"of": of, "format": file_format, **narrowed}
    return person.client.post(f"/teams/{team_id}/exports", data=form).status_code


def newest() -> Export:
    query = select(Export).order_by(Export.created_at.desc(), Export.id.desc()).limit(1)
    found = db.session.execute(query.execution_options(populate_existing=True)).scalar_one()
    db.session.remove()
    return found


def fetch(person: Person, export: Export) -> bytes:
    answer = person.client.get(f"/teams/{export.team_id}/exports/{export.id}/file")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    data = answer.get_data()
    assert answer.content_length == len(data) == export.size_bytes
    return data


def exported(person: Person, team_id: str, of: str, **narrowed: str) -> list[dict[str, str]]:
    """The rows of a CSV, from the wish to the file."""
    assert ask(person, team_id, of, **narrowed) == 303
    making.drain(1_000)
    return list(csv.DictReader(io.StringIO(fetch(person, newest()).decode(), newline="")))


def workbook_rows(data: bytes) -> list[list[Any]]:
    """The cells of a workbook's sheet: texts as `str`, numbers as `float`; a missing cell is None."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        sheet = ET.fromstring(file.read("xl/worksheets/sheet1.xml"))  # noqa: S314  our own file
        assert "xl/externalLinks" not in " ".join(file.namelist())
    assert sheet.find(f".//{SHEET}f") is None, "no cell is a formula"
    return [_cells(row) for row in sheet.iter(f"{SHEET}row")]


def _cells(row: ET.Element) -> list[Any]:
    found: list[Any] = []
    for cell in row.iter(f"{SHEET}c"):
        letters = re.sub(r"\d", "", cell.attrib["r"])
        found += [None] * (ord(letters) - ord("A") - len(found))
        text, number = cell.find(f".//{SHEET}t"), cell.find(f"{SHEET}v")
        found.append(text.text if text is not None else float(number.text or "nan") if number is not None else None)
    return found
