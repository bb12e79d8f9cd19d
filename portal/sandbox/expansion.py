"""The `expand` parameter: checked against the shapes before anything runs, applied to the answer afterwards."""

from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.errors import invalid
from portal.sandbox.registry import RESOURCES, Embedded, Included, Nested, Reference, Shape, render
from portal.sandbox.store import Object

STEPS_MAX = 4


def shape_of(type_name: str) -> Shape:
    """Return what can be expanded in a type; a type that the sandbox does not have holds nothing."""
    resource = RESOURCES.get(type_name)
    return resource.shape if resource else {}


def _inner(kind: Reference | Included | Embedded | Nested) -> Shape:
    return kind.shape if isinstance(kind, Included | Nested) else shape_of(kind.type_name)


def check_paths(paths: list[str], shape: Shape) -> None:
    """Raise 400 for a path that leads nowhere, ends on something that is no reference, or is too long."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > STEPS_MAX:
            raise invalid(f"A property can be expanded {STEPS_MAX} levels deep at most. Property: {path}", "expand")
        at: Shape = shape
        kind: Any = None
        for step in steps:
            kind = at.get(step)
            if kind is None:
                raise invalid(f"This property cannot be expanded ({path}).", "expand")
            at = _inner(kind)
        if not isinstance(kind, Reference | Included):
            raise invalid(f"This property cannot be expanded ({path}).", "expand")


def expand(call: Call, answer: Object, paths: list[str], shape: Shape) -> None:
    """Put whole objects where `paths` point to, in place."""
    for path in paths:
        _walk(call, answer, shape, path.split("."))


def _walk(call: Call, value: Any, shape: Shape, steps: list[str]) -> None:
    if isinstance(value, list):
        for entry in value:
            _walk(call, entry, shape, steps)
        return
    if not steps or not isinstance(value, dict) or value.get("deleted"):
        return
    step, rest = steps[0], steps[1:]
    kind = shape[step]
    if isinstance(kind, Reference):
        value[step] = _resolve(call, kind.type_name, value.get(step))
    elif isinstance(kind, Included) and step not in value:
        value[step] = kind.load(call, value)
    _walk(call, value.get(step), _inner(kind), rest)


def _resolve(call: Call, type_name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_resolve(call, type_name, entry) for entry in value]
    if not isinstance(value, str):
        return value
    obj = call.store.get(type_name, value)
    return value if obj is None else render(call, obj)
