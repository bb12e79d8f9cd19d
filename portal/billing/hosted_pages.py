"""Which pages outside of ours a browser may be sent to: Stripe's own, as configured."""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from flask import current_app

log = structlog.get_logger(__name__)


def is_hosted(address: str) -> bool:
    """Whether we may send a browser there: the page's policy would stop it anywhere else, and say nothing."""
    parts = urlsplit(address)
    origin = f"{parts.scheme}://{parts.netloc}"
    known = origin in current_app.config["SETTINGS"].hosted_page_origins
    if not known:
        log.error("hosted_page_origin_unknown", origin=origin, setting="HOSTED_PAGE_ORIGINS")
    return known
