"""Telling a swap from a page: a fragment that HTMX asks for is the same file that the page includes."""

from __future__ import annotations

from flask import request


def is_htmx() -> bool:
    """Whether htmx asked for a fragment (and not for a whole page after a boosted or restored navigation)."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers
