"""Public identifiers: prefixed ULIDs such as `team_01JD…`, sortable by their making, never a bare integer."""

from __future__ import annotations

import re

from ulid import ULID

_SHAPE = re.compile(r"([a-z]{2,6})_[0-9A-HJKMNP-TV-Z]{26}")


def new_id(prefix: str) -> str:
    """A fresh identifier: the prefix names the kind of row, the ULID carries the millisecond it was made in."""
    return f"{prefix}_{ULID()}"


def is_id(prefix: str, value: str) -> bool:
    """Whether `value` is spelled like an identifier of this kind (says nothing of its existence)."""
    match = _SHAPE.fullmatch(value)
    return match is not None and match.group(1) == prefix
