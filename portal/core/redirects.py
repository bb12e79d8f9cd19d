"""Where a form, a link or a hosted page may send the browser afterwards."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

ADDRESS_MAX = 2_000
# What would become a line break, a NUL or a backslash in a reader that unpacks too early.
SMUGGLED = re.compile("%0[0ad]|%5c", re.IGNORECASE)


def own_path(address: str | None) -> str | None:
    """The address if it is a plain path on this site; anything a browser could read as another site is refused."""
    if not address or not address.isascii() or not address.isprintable() or "\\" in address:
        return None
    return address if address.startswith("/") and "//" not in address.partition("?")[0] else None


def leads_to(address: str, origins: Collection[str]) -> bool:
    """Whether the address is on one of these origins, however it is read.

    It must spell its origin as the list does, from the first letter on: no name or password, no backslash, no letters
    that only look like others, nothing that hides a line break. Programs disagree about all of these.
    """
    if len(address) > ADDRESS_MAX or not address.isascii() or not address.isprintable() or SMUGGLED.search(address):
        return False
    if any(letter in address for letter in " \\\"'<>`"):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    origin = f"{parts.scheme}://{parts.netloc}"
    rest = address[len(origin) :]
    known = origin in origins and address.startswith(origin)
    return known and "@" not in parts.netloc and (not rest or rest[0] in "/?#")
