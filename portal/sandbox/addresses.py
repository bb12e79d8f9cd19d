"""Postal addresses, as parameters and in objects."""

from typing import Any

from portal.sandbox.parameters import Param, Text
from portal.sandbox.store import Object

_PARTS = ("city", "country", "line1", "line2", "postal_code", "state")
ADDRESS: dict[str, Param] = {part: Text(unsettable=True) for part in _PARTS}


def address(values: dict[str, Any] | None) -> Object | None:
    """Return an address with all its parts, or None when there is none."""
    return None if values is None else blank_address() | values


def blank_address() -> Object:
    """Return an address of which nothing is known."""
    return dict.fromkeys(_PARTS)
