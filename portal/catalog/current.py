"""The catalog this process runs on, read once when the app was made."""

from __future__ import annotations

from typing import cast

from flask import current_app

from portal.catalog.definition import Catalog

EXTENSION = "catalog"


def catalog() -> Catalog:
    return cast(Catalog, current_app.extensions[EXTENSION])
