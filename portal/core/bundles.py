"""Our style and our scripts: many small files in the tree, one of each for a browser, which would else ask sixty times.

Nothing is built: the parts are put together when they are first asked for, and again when one of them has changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request, url_for

from portal.core.static_files import YEAR_SECONDS

bp = Blueprint("bundles", __name__)

# Later rules win, so that their order counts.
STYLES = (
    "tokens", "base", "shell", "brand", "person", "invite", "switcher", "nav", "head", "grid", "card", "button", "field",
    "inline-form", "affix", "segmented", "badge", "money", "stat", "kv", "facts", "table", "filters", "pager", "compare", "receipt",
    "contract", "outcome", "plan", "addon", "pricing", "meter", "chart", "explain", "more", "actionlist", "empty", "banner", "toast", "wait",
    "secret", "checks", "apidocs", "qr", "confirm", "mailbox", "inbox", "switches", "progress", "choice", "ribbon", "door",
    "motion",
)  # fmt: skip
SCRIPTS = (
    "htmx-csrf", "request-failed", "busy", "toast", "focus", "copy", "menu", "bell", "query-choice", "choice-label",
)  # fmt: skip
# By the file's name: the folder and the ending of its parts, and their names.
BUNDLES = {"portal.css": ("css", ".css", STYLES), "portal.js": ("js", ".js", SCRIPTS)}
MIME_TYPES = {"portal.css": "text/css", "portal.js": "text/javascript"}


@dataclass(frozen=True)
class Bundle:
    content: bytes
    version: str


# Beside the folders of the parts, so that what a part refers to by `../` is where it looks.
@bp.get("/static/bundle/portal.css", defaults={"name": "portal.css"})
@bp.get("/static/bundle/portal.js", defaults={"name": "portal.js"})
def bundle(name: str) -> Response:
    """Kept for a year by whoever asks for the version that there is; the address changes with it."""
    found = _bundle(name)
    answer = Response(found.content, mimetype=MIME_TYPES[name])
    if request.args.get("v") == found.version:
        answer.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    else:
        answer.headers["Cache-Control"] = "no-cache"
    answer.set_etag(found.version)
    answer.make_conditional(request)
    return answer


def init_bundles(app: Flask) -> None:
    app.add_template_global(bundle_url, "bundle_url")


def bundle_url(name: str) -> str:
    return url_for("bundles.bundle", name=name, v=_bundle(name).version)


def _bundle(name: str) -> Bundle:
    folder, ending, parts = BUNDLES[name]
    files = tuple(Path(str(current_app.static_folder)) / folder / f"{part}{ending}" for part in parts)
    return _joined(files, tuple(file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=8)
def _joined(files: tuple[Path, ...], _changed_at: tuple[int, ...]) -> Bundle:
    content = b"\n".join(file.read_bytes() for file in files)
    return Bundle(content, hashlib.sha256(content).hexdigest()[:12])
