"""The contract of responses, read from the annotations of the installed `stripe` package.

Every resource class of the SDK lists its fields with types. This module reads the source of those classes and checks a
JSON body against them: each field that is not Optional is there, values have the right type, words are known ones.
"""

import ast
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES
from stripe.events._event_classes import get_v2_event_class

_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


@dataclass
class ClassContract:
    """The fields of one class, and the classes nested in it."""

    name: str
    fields: dict[str, ast.expr]
    nested: dict[str, "ClassContract"]
    parent: "ClassContract | None" = None

    def find(self, name: str) -> "ClassContract | None":
        """Return a nested class visible from here, looking outwards."""
        if name in self.nested:
            return self.nested[name]
        return self.parent.find(name) if self.parent else None


def _read_class(node: ast.ClassDef, parent: ClassContract | None) -> ClassContract:
    contract = ClassContract(node.name, {}, {}, parent)
    for statement in node.body:
        if isinstance(statement, ast.ClassDef):
            contract.nested[statement.name] = _read_class(statement, contract)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if "ClassVar" not in ast.unparse(statement.annotation) and not statement.target.id.startswith("_"):
                contract.fields[statement.target.id] = statement.annotation
            if statement.target.id == "_field_remappings":
                raise AssertionError("the SDK renames fields; teach this reader to follow")
    return contract


@cache
def contract_of(object_name: str) -> ClassContract:
    """Return the contract of a resource by the `object` of its bodies."""
    return _contract_in(*{**OBJECT_CLASSES, **V2_OBJECT_CLASSES}[object_name])


@cache
def contract_of_thin_event(event_type: str) -> ClassContract:
    """Return the contract of a thin event: what all have, and what those of its type have besides."""
    found = get_v2_event_class(event_type)
    own = _contract_in(found.__module__, found.__name__)
    own.fields = contract_of("v2.core.event").fields | own.fields
    own.nested = contract_of("v2.core.event").nested | own.nested
    return own


def _contract_in(module_name: str, class_name: str) -> ClassContract:
    path = import_module(module_name).__file__
    assert path is not None
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return _read_class(node, None)
    raise AssertionError(f"{class_name} is not in {module_name}")


def event_types() -> set[str]:
    """Return every type of snapshot event that the SDK knows."""
    return set(_words(contract_of("event").fields["type"]))


def _words(annotation: ast.expr) -> list[str]:
    return [
        node.value for node in ast.walk(annotation) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@dataclass
class Checker:
    """Checks bodies and counts what it has seen."""

    problems: list[str] = field(default_factory=list)
    fields_checked: int = 0
    words_checked: int = 0
    objects: Counter[str] = field(default_factory=Counter)

    def check(self, body: Any, where: str) -> None:
        """Check an object, a list object, or what says that an object was deleted."""
        if body.get("object") == "list":
            self._list(body, where)
        elif body.get("deleted") is True:
            self._same(set(body), {"id", "object", "deleted"}, where)
        else:
            self.objects[body["object"]] += 1
            thin = body["object"] == "v2.core.event"
            contract = contract_of_thin_event(body["type"]) if thin else contract_of(body["object"])
            self._class(body, contract, where)

    def _problem(self, where: str, text: str) -> None:
        self.problems.append(f"{where}: {text}")

    def _same(self, got: set[str], wanted: set[str], where: str) -> None:
        if got != wanted:
            self._problem(where, f"has {sorted(got)}, not {sorted(wanted)}")

    def _list(self, body: Any, where: str) -> None:
        if (
            not {"object", "data", "has_more", "url"}
            <= set(body)
            <= {"object", "data", "has_more", "url", "total_count"}
        ):
            self._problem(where, f"a list with {sorted(body)}")
        if not isinstance(body["has_more"], bool) or not isinstance(body["url"], str):
            self._problem(where, "a list whose has_more or url is of the wrong type")
        for index, entry in enumerate(body["data"]):
            self.check(entry, f"{where}[{index}]")

    def _class(self, body: Any, contract: ClassContract, where: str) -> None:
        if not isinstance(body, dict):
            self._problem(where, f"is {body!r}, not {contract.name}")
            return
        for name in set(body) - set(contract.fields):
            self._problem(where, f"the SDK knows no field {name}")
        for name, annotation in contract.fields.items():
            self.fields_checked += 1
            self._field(body, name, annotation, contract, f"{where}.{name}")

    def _field(self, body: Any, name: str, annotation: ast.expr, contract: ClassContract, where: str) -> None:
        head, arguments = _split(annotation)
        if head == "Optional":
            if body.get(name) is not None:
                self._value(body[name], arguments[0], contract, where)
        elif name not in body:
            self._problem(where, "is missing")
        else:
            self._value(body[name], annotation, contract, where)

    def _value(self, value: Any, annotation: ast.expr, contract: ClassContract, where: str) -> None:
        head, arguments = _split(annotation)
        if head == "Literal" or (head == "Union" and _split(arguments[0])[0] == "Literal"):
            self.words_checked += 1
            known = [node.value for node in ast.walk(arguments[0] if head == "Union" else annotation)
                     if isinstance(node, ast.Constant)]  # fmt: skip
            if value not in known:
                self._problem(where, f"{value!r} is not one of {known}")
        elif head == "List":
            self._array(value, arguments[0], contract, where)
        elif head in {"ListObject", "ExpandableField", "UntypedStripeObject", "Dict"}:
            self._generic(value, head, arguments, contract, where)
        elif head == "Any":
            pass
        elif head == "Decimal":
            if not isinstance(value, str):
                self._problem(where, f"{value!r} is not a decimal in a text")
        elif head in _PLAIN:
            if not isinstance(value, _PLAIN[head]) or (head in {"int", "float"} and isinstance(value, bool)):
                self._problem(where, f"{value!r} is not {head}")
        else:
            self._named(value, head, contract, where)

    def _array(self, value: Any, inner: ast.expr, contract: ClassContract, where: str) -> None:
        if not isinstance(value, list):
            self._problem(where, f"{value!r} is not a list")
            return
        for index, entry in enumerate(value):
            self._value(entry, inner, contract, f"{where}[{index}]")

    def _generic(self, value: Any, head: str, arguments: list[ast.expr], contract: ClassContract, where: str) -> None:
        if head == "ExpandableField" and isinstance(value, str):
            return
        if not isinstance(value, dict):
            self._problem(where, f"{value!r} is not {head}")
        elif head in {"ListObject", "ExpandableField"} or "object" in value:
            self.check(value, where)
        else:
            for key, entry in value.items():
                self._value(entry, arguments[-1], contract, f"{where}[{key}]")

    def _named(self, value: Any, name: str, contract: ClassContract, where: str) -> None:
        nested = contract.find(name)
        if nested is not None:
            self._class(value, nested, where)
        elif isinstance(value, dict) and "object" in value:
            self.check(value, where)
        else:
            self._problem(where, f"{value!r} is not {name}")


def _split(annotation: ast.expr) -> tuple[str, list[ast.expr]]:
    """Return the outer name of an annotation and its arguments; a text is the annotation it holds."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _split(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.Subscript):
        inner = annotation.slice
        arguments = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        return _split(annotation.value)[0], arguments
    if isinstance(annotation, ast.Name):
        return annotation.id, []
    if isinstance(annotation, ast.Attribute):
        return annotation.attr, []
    raise AssertionError(ast.dump(annotation))
