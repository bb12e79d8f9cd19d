"""Keys for one purpose each, made from SECRET_KEY, so that there is one secret to keep and to rotate."""

from __future__ import annotations

import hmac

from portal.settings import Settings


def derived_keys(settings: Settings, purpose: str) -> list[bytes]:
    """32 bytes for each of SECRET_KEY and its fallbacks, the current one first. What the last opens, the first renews."""
    secrets = (settings.secret_key, *settings.secret_key_fallbacks)
    return [hmac.digest(secret.encode(), purpose.encode(), "sha256") for secret in secrets]
