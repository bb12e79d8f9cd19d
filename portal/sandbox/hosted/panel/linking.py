"""JSON as a page shows it: an id of an object that there is leads to that object."""

import json
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from portal.sandbox.hosted.panel import addresses
from portal.sandbox.store import Store

_ID_LENGTH_MAX = 255
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MANY = 500


def linked_json(store: Store, value: Any) -> Markup:
    """Return JSON for a page, as it is on the wire, with links in the place of ids."""
    types = types_of(store, {text for text in _texts(value) if len(text) <= _ID_LENGTH_MAX})
    text = json.dumps(value, indent=2, ensure_ascii=False)
    parts, end = [], 0
    for found in _STRING.finditer(text):
        parts.append(escape(text[end : found.start()]))
        parts.append(_shown(found[0], types))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _shown(quoted: str, types: dict[str, str]) -> Markup:
    name = json.loads(quoted)
    if name not in types:
        return escape(quoted)
    return Markup('"<a href="{}">{}</a>"').format(addresses.thing(types[name], name), name)


def types_of(store: Store, names: set[str]) -> dict[str, str]:
    """Return the type of each of these that is the id of an object."""
    wanted = sorted(names)
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _MANY):
        some = wanted[start : start + _MANY]
        # Nothing but question marks is put into the statement.
        sql = f"SELECT id, type FROM objects WHERE id IN ({', '.join('?' * len(some))})"  # noqa: S608  all of it is ours
        found |= {row["id"]: row["type"] for row in store.query(sql, some)}
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _texts(member)
