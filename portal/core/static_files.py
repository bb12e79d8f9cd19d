"""Static files under an address that changes with their content, so that a browser asks for each once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

YEAR_SECONDS = 365 * 24 * 3600


def init_static_files(app: Flask) -> None:
    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and "v" not in values:
            version = content_version(Path(str(app.static_folder)) / str(values.get("filename", "")))
            if version:
                values["v"] = version

    @app.after_request
    def keep(response: Response) -> Response:
        if request.endpoint == "static" and request.args.get("v") and response.status_code in (200, 304):
            response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
        return response


def content_version(file: Path) -> str | None:
    """The first characters of the file's digest; `None` when there is no such file."""
    try:
        return _digest(file, file.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=512)
def _digest(file: Path, _changed_at: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
