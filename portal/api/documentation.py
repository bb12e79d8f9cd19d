"""The view model of the documentation page: the OpenAPI document, told to people."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from portal.api.document import METHODS, PAGE_ORDER
from portal.api.error_codes import CODES

Json = dict[str, Any]

SHOWN_KEY = "$TURNPIKE_KEY"


@dataclass(frozen=True)
class Field:
    """A field of a body, or a parameter. `depth` is how far inside another field it stands."""

    name: str
    type: str
    text: str
    required: bool
    values: list[str]
    depth: int = 0


@dataclass(frozen=True)
class Outcome:
    status: str
    text: str


@dataclass(frozen=True)
class Call:
    id: str
    method: str
    path: str
    title: str
    paragraphs: list[str]
    scope: str
    parameters: list[Field]
    headers: list[Field]
    body: list[Field]
    answer: list[Field]
    outcomes: list[Outcome]
    request_example: str
    answer_example: str


@dataclass(frozen=True)
class Group:
    id: str
    title: str
    calls: list[Call]


@dataclass(frozen=True)
class Documentation:
    version: str
    base_url: str
    groups: list[Group]
    codes: dict[str, str]


def build(document: Json) -> Documentation:
    base_url = document["servers"][0]["url"]
    calls: dict[str, list[Call]] = {title: [] for title in PAGE_ORDER}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                calls[operation["tags"][0]].append(_call(document, base_url, path, method, operation))
    groups = [Group(_anchor(title), title, found) for title, found in calls.items() if found]
    return Documentation(document["info"]["version"], base_url, groups, CODES)


def pieces(text: str) -> list[tuple[bool, str]]:
    """A text taken apart at its backticks: whether it is code, and the words."""
    return [(place % 2 == 1, part) for place, part in enumerate(text.split("`")) if part]


def _call(document: Json, base_url: str, path: str, method: str, operation: Json) -> Call:
    components = document["components"]
    parameters = operation.get("parameters", [])
    body = _media(operation.get("requestBody", {}))
    good = _media(operation["responses"]["200"])
    return Call(
        id=operation["operationId"].replace("_", "-"),
        method=method.upper(),
        path=path,
        title=operation["summary"],
        paragraphs=[_one_line(part) for part in operation.get("description", "").split("\n\n") if part.strip()],
        scope=operation["security"][0]["bearer"][0],
        parameters=[_parameter(one) for one in parameters if one["in"] in ("path", "query")],
        headers=[_parameter(one) for one in parameters if one["in"] == "header"],
        body=_fields(body["schema"], components) if body else [],
        answer=_fields(good["schema"], components),
        outcomes=[_outcome(status, one, components) for status, one in sorted(operation["responses"].items())],
        request_example=_curl(base_url + path, method, parameters, body),
        answer_example=json.dumps(good["example"], indent=2),
    )


def _media(holder: Json) -> Json:
    found: Json = holder.get("content", {}).get("application/json", {})
    return found


def _parameter(parameter: Json) -> Field:
    schema = parameter["schema"]
    text = parameter.get("description") or schema.get("description", "")
    return Field(
        parameter["name"],
        _type(schema),
        text,
        bool(parameter.get("required")),
        [str(v) for v in schema.get("enum", [])],
    )


def _fields(schema: Json, components: Json, depth: int = 0) -> list[Field]:
    """The fields of an object, each followed by those inside it."""
    found: list[Field] = []
    schema = _resolved(schema, components)
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        inner = _inner(field, components)
        values = [str(value) for value in field.get("enum", []) if name != "object"]
        found.append(Field(name, _type(field), field.get("description", ""), name in required, values, depth))
        if inner is not None:
            found += _fields(inner, components, depth + 1)
    return found


def _inner(field: Json, components: Json) -> Json | None:
    """The schema of the objects within a field: its own, its items' or its values'."""
    for candidate in (field, *field.get("anyOf", []), field.get("items", {}), field.get("additionalProperties", {})):
        if isinstance(candidate, dict) and "$ref" in candidate:
            return _resolved(candidate, components)
    return None


def _resolved(schema: Json, components: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Json = components["schemas"][name] if name else schema
    return found


def _type(schema: Json) -> str:
    """In words: `whole number or null`, `moment`, `list`."""
    kinds = schema.get("type")
    if kinds is None:
        several = schema.get("anyOf", [{"type": "object"}])
        kinds = [one.get("type", "object") for one in several]
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = {"integer": "whole number", "boolean": "true or false", "array": "list", "string": "text"}
    if schema.get("format") == "date-time":
        words["string"] = "moment"
    if schema.get("format") == "uri":
        words["string"] = "address"
    return " or ".join(words.get(kind, kind) for kind in kinds)


def _outcome(status: str, response: Json, components: Json) -> Outcome:
    name = response.get("$ref", "").rpartition("/")[2]
    found = components["responses"][name] if name else response
    return Outcome(status, found["description"])


def _curl(address: str, method: str, parameters: list[Json], body: Json) -> str:
    for one in parameters:
        if one["in"] == "path":
            address = address.replace(f"{{{one['name']}}}", one["example"])
    lines = [f"curl {address}", f'  -H "Authorization: Bearer {SHOWN_KEY}"']
    needed = [one for one in parameters if one["in"] == "header" and one.get("required")]
    lines += [f"  -H {shlex.quote(one['name'] + ': ' + one['schema']['example'])}" for one in needed]
    if body:
        lines.append('  -H "Content-Type: application/json"')
        lines.append(f"  -d {shlex.quote(json.dumps(body['example']))}")
    elif method == "post":
        lines.insert(1, "  -X POST")
    return " \\\n".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip())


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
