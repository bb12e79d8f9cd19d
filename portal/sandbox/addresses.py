"""Postal addresses and where things are sent to, as parameters and in objects."""

from typing import Any

from portal.sandbox.parameters import Hash, Param, Text
from portal.sandbox.store import Object

_PARTS = ("city", "country", "line1", "line2", "postal_code", "state")
ADDRESS: dict[str, Param] = {part: Text(unsettable=True) for part in _PARTS}
SHIPPING = Hash(
    unsettable=True,
    fields={
        "address": Hash(required=True, fields=ADDRESS),
        "name": Text(required=True),
        "phone": Text(unsettable=True),
    },
)


def address(values: dict[str, Any] | None) -> Object | None:
    """Return an address with all its parts, or None when there is none."""
    return None if values is None else blank_address() | values


def blank_address() -> Object:
    """Return an address of which nothing is known."""
    return dict.fromkeys(_PARTS)


def shipping(values: dict[str, Any] | None) -> Object | None:
    """Return who gets what is sent, and where, or None when nothing is."""
    if values is None:
        return None
    return {
        "address": address(values["address"]),
        "carrier": None,
        "name": values["name"],
        "phone": values.get("phone"),
        "tracking_number": None,
    }
