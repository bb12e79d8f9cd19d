"""What no route of ours could mean, refused before any of it runs: a body past the limit, a NUL in the address."""

from __future__ import annotations

from flask import Flask, abort, request

NUL = "\x00"


def init_request_limits(app: Flask) -> None:
    @app.before_request
    def check() -> None:
        """The framework refuses a large body only when it is read; a route that does not read would take any."""
        environ = request.environ
        if (request.content_length or 0) > app.config["MAX_CONTENT_LENGTH"]:
            abort(413)
        # A whole address in the request line names a host of its own beside the header that was checked.
        if not environ.get("RAW_URI", "/").startswith("/"):
            abort(400)
        # The database could not even be asked for it. In forms it is found when it gets there (portal/core/errors.py).
        if NUL in environ.get("PATH_INFO", "") or "%00" in environ.get("QUERY_STRING", ""):
            abort(400)
