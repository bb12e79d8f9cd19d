"""A second lock beside the form token: a browser that says a form comes from another site is believed."""

from __future__ import annotations

from flask import Flask, abort, request

from portal.settings import Settings

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def init_same_origin(app: Flask, settings: Settings) -> None:
    """403 for a changing request that a browser sent from elsewhere.

    `Sec-Fetch-Site` decides where there is one: our pages send no referrer, and then a browser's `Origin` is `null`
    even for our own forms. Programs (webhooks, the API) send neither and prove themselves otherwise.
    """

    @app.before_request
    def check() -> None:
        if request.method in SAFE_METHODS:
            return
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None and site not in ("same-origin", "none"):
            abort(403)
        if site is None and origin is not None and origin not in (settings.base_url, request.host_url.rstrip("/")):
            abort(403)
