"""Absolute addresses of our own pages, for mails and for Stripe: made of the configured origin, in or out of a request."""

from __future__ import annotations

from flask import current_app


def own_address(endpoint: str, **values: str) -> str:
    """The address of a page under `BASE_URL`, never under what a request says its host is."""
    path = current_app.url_map.bind("").build(endpoint, values)
    return f"{current_app.config['SETTINGS'].base_url}{path}"
