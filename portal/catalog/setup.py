"""Reads the catalog when the app is made, and gives every page the seller's name and addresses."""

from __future__ import annotations

from flask import Flask

from portal.catalog.current import EXTENSION
from portal.catalog.loader import load_catalog
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Raises `CatalogError` (a `SettingsError`) when CATALOG names nothing usable."""
    catalog = load_catalog(settings.catalog)
    app.extensions[EXTENSION] = catalog
    portal = catalog.portal
    links = {
        "terms": portal.terms_url,
        "privacy": portal.privacy_url,
        "refunds": portal.refund_url,
        "help": portal.support_url,
    }

    @app.context_processor
    def seller() -> dict[str, object]:
        return {"seller_name": portal.name, "portal_links": links}
