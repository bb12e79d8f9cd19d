"""Our style and our scripts: one file each, of all parts there are, kept by browsers until it changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core.bundles import BUNDLES


@pytest.mark.parametrize("name", BUNDLES)
def test_every_part_is_in_its_bundle_once(app: Flask, client: FlaskClient, name: str) -> None:
    folder, ending, parts = BUNDLES[name]
    there = {file.name for file in (Path(str(app.static_folder)) / folder).glob(f"*{ending}")}
    assert {f"{part}{ending}" for part in parts} == there
    assert len(parts) == len(there)
    sent = client.get(f"/static/bundle/{name}").get_data(as_text=True)
    assert all((Path(str(app.static_folder)) / folder / file).read_text() in sent for file in there)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_page_names_the_version_that_may_be_kept(client: FlaskClient, name: str) -> None:
    page = client.get("/pricing").get_data(as_text=True)
    found = re.search(rf'"(/static/bundle/{re.escape(name)}\?v=[0-9a-f]+)"', page)
    assert found
    kept, asked = client.get(found[1]), client.get(f"/static/bundle/{name}?v=of-yesterday")
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert asked.headers["Cache-Control"] == "no-cache"
    assert kept.data == asked.data
    again = client.get(f"/static/bundle/{name}", headers={"If-None-Match": asked.headers["ETag"]})
    assert again.status_code == 304
    assert client.get("/static/bundle/none.css").status_code == 404


def test_a_part_that_changes_changes_the_address(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    for kind in ("css", "js"):
        (tmp_path / kind).mkdir()
    for folder, ending, parts in BUNDLES.values():
        for part in parts:
            (tmp_path / folder / f"{part}{ending}").write_text(f"/* {part} */")
    address = re.compile(r"/static/bundle/portal\.css\?v=[0-9a-f]+")
    before, app.static_folder = app.static_folder, str(tmp_path)
    try:
        first = address.search(client.get("/nowhere").get_data(as_text=True))
        (tmp_path / "css" / "motion.css").write_text("/* nothing moves */")
        second = address.search(client.get("/nowhere").get_data(as_text=True))
    finally:
        app.static_folder = before
    assert first
    assert second
    assert first[0] != second[0]
    assert "/* motion */" not in client.get(second[0]).get_data(as_text=True)
