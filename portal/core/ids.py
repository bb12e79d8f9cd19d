"""Public identifiers: prefixed ULIDs such as `team_01JD…`, sortable by their making, never a bare integer."""

from __future__ import annotations

import re
from datetime import datetime

from ulid import ULID

# A ULID: the millisecond, then chance.
TIME_CHARACTERS, RANDOM_CHARACTERS = 10, 16

_SHAPE = re.compile(r"([a-z]{2,6})_[0-9A-HJKMNP-TV-Z]{26}")


def new_id(prefix: str) -> str:
    """A fresh identifier: the prefix names the kind of row, the ULID carries the millisecond it was made in."""
    return f"{prefix}_{ULID()}"


def first_id(prefix: str, moment: datetime) -> str:
    """No identifier of this kind that was made at `moment` or later sorts before this one."""
    return f"{prefix}_{str(ULID.from_datetime(moment))[:TIME_CHARACTERS]}{'0' * RANDOM_CHARACTERS}"


def is_id(prefix: str, value: str) -> bool:
    """Whether `value` is spelled like an identifier of this kind (says nothing of its existence)."""
    match = _SHAPE.fullmatch(value)
    return match is not None and match.group(1) == prefix
