"""Telling a swap from a page: a fragment that HTMX asks for is the same file that the page includes."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from portal.core.redirects import own_path


def is_htmx() -> bool:
    """Whether htmx asked for a fragment (and not for a whole page after a boosted or restored navigation)."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers


def page_in_view() -> str | None:
    """The page of ours that asks for the fragment, as htmx tells it; None if it tells none."""
    try:
        parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    except ValueError:
        return None
    return own_path(parts._replace(scheme="", netloc="", fragment="").geturl())
