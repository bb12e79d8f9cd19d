"""A second lock beside the form token: a browser that says a form comes from another site is believed."""

from __future__ import annotations

from flask import Flask, abort, request

from portal.settings import Settings

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def init_same_origin(app: Flask, settings: Settings) -> None:
    """403 for a changing request whose `Origin` is not ours. Programs (webhooks, the API) send none and prove
    themselves otherwise."""

    @app.before_request
    def check() -> None:
        origin = request.headers.get("Origin")
        if request.method in SAFE_METHODS or origin is None:
            return
        if origin not in (settings.base_url, request.host_url.rstrip("/")):
            abort(403)
