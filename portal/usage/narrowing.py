"""What figures and lists of use are narrowed to, as it stands in an address: `meter`, `key` and `member`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from werkzeug.exceptions import UnprocessableEntity

from portal.usage.figures import Narrowed

# How an address names uses without a key, or without a member.
NONE = "none"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


def read_narrowed(arguments: Mapping[str, str]) -> Narrowed:
    """Raises `UnprocessableEntity` for what cannot be a name at all. Any other name may simply have no use."""
    return Narrowed(*(_read(arguments, name) for name in ("meter", "key", "member")))


def narrowed_arguments(narrowed: Narrowed) -> dict[str, str]:
    chosen = {"meter": narrowed.meter, "key": narrowed.api_key_id, "member": narrowed.user_id}
    return {name: value or NONE for name, value in chosen.items() if value is not None}


def _read(arguments: Mapping[str, str], name: str) -> str | None:
    value = arguments.get(name) or None
    if value is not None and not NAME.fullmatch(value):
        raise UnprocessableEntity(f"There is no such {name}.")
    return "" if value == NONE else value
