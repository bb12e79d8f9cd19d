"""Where a form or a link may send the browser afterwards."""

from __future__ import annotations


def own_path(address: str | None) -> str | None:
    """The address if it is a plain path on this site; anything a browser could read as another site is refused."""
    if not address or not address.isascii() or not address.isprintable() or "\\" in address:
        return None
    return address if address.startswith("/") and "//" not in address.partition("?")[0] else None
