"""The form encoding of requests and the JSON of answers."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Tree

PAIRS_MAX = 2000
DEPTH_MAX = 8
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def dumps(value: Any) -> bytes:
    """Return the JSON of an answer or an event, indented by two as Stripe's is."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def decode_pairs(raw: bytes) -> list[tuple[str, str]]:
    """Split a query or a form body into names and values, or raise 400 when it is no such thing."""
    if not raw:
        return []
    pieces = raw.split(b"&")
    if len(pieces) > PAIRS_MAX:
        raise invalid(f"The request holds more than {PAIRS_MAX} parameters.")
    pairs = []
    for piece in filter(None, pieces):
        name, _, value = piece.partition(b"=")
        try:
            pairs.append((_unquote(name), _unquote(value)))
        except UnicodeDecodeError as error:
            raise invalid("The request holds bytes that are not UTF-8.") from error
    return pairs


def json_pairs(raw: bytes) -> list[tuple[str, str]]:
    """Return the same names and values for a JSON body, which is what API v2 takes."""
    try:
        body = json.loads(raw)
        if not isinstance(body, dict):
            raise invalid("The body is not a JSON object.")
        return [pair for name, value in body.items() for pair in _flat(name, value)]
    except (ValueError, RecursionError) as error:
        raise invalid("The body is not JSON, or it is nested too deeply.") from error


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from _flat(f"{name}[{key}]", entry)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, "" if value is None else str(value)


def _unquote(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")


def build_tree(pairs: list[tuple[str, str]]) -> Tree:
    """Return nested hashes for names such as `items[0][price]`; lists are hashes of indexes until they are parsed.

    A name that is not well formed stays whole, so that it is refused as an unknown parameter.
    """
    tree: Tree = {}
    for name, value in pairs:
        matched = _NAME.fullmatch(name)
        if matched is None:
            tree[name] = value
            continue
        steps = [matched[1], *re.findall(r"\[([^\[\]]*)\]", matched[2])]
        if len(steps) > DEPTH_MAX:
            raise invalid(f"The parameter '{name[:100]}' is nested too deeply.", name[:100])
        _place(tree, steps, value, name)
    return tree


def _place(tree: Tree, steps: list[str], value: str, name: str) -> None:
    node = tree
    for step in steps[:-1]:
        child = node.setdefault(step or str(len(node)), {})
        if not isinstance(child, dict):
            raise invalid(f"The parameter '{name}' is sent both as a value and as a hash.", name)
        node = child
    last = steps[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise invalid(f"The parameter '{name}' is sent both as a value and as a hash.", name)
    node[last] = value
