"""The contract of requests, read from the service classes and parameter types of the installed `stripe` package."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import stripe

_ROOT = Path(stripe.__file__).parent
# A file is sent for in its own way.
_SENDING = ("_request", "_request_stream")


@dataclass(frozen=True)
class Operation:
    """One method of a service class: where it sends its parameters, and their type."""

    method: str
    path: str
    params_class: str
    params_module: str


def normal(path: str) -> str:
    """Return a path whose ids have no names."""
    return re.sub(r"\{\w+\}", "{}", path)


@cache
def operations() -> dict[tuple[str, str], Operation]:
    """Return every operation of the SDK by method and path."""
    found = {}
    for file in sorted(_ROOT.rglob("_*_service.py")):
        text = file.read_text(encoding="utf-8")
        if "/v1/" in text or "/v2/" in text:
            for operation in _operations_of(ast.parse(text)):
                found[operation.method, operation.path] = operation
    return found


def _operations_of(module: ast.Module) -> list[Operation]:
    imported = {
        alias.name: node.module or ""
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    return [operation for function in functions if (operation := _operation_of(function, imported)) is not None]


def _operation_of(function: ast.FunctionDef, imported: dict[str, str]) -> Operation | None:
    types = [arg.annotation for arg in function.args.args if arg.arg == "params" and arg.annotation is not None]
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _SENDING):
            continue
        texts = [
            node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        path = next(text for text in texts if text.startswith("/"))
        if not types or not path.startswith(("/v1/", "/v2/")):
            return None
        name = re.findall(r"\w+Params", ast.unparse(types[0]))[0]
        return Operation(texts[0].upper(), normal(path), name, imported[name])
    return None


@dataclass(frozen=True)
class Parameter:
    """One parameter: whether it is required, the words it may be, and the class of its members."""

    required: bool
    words: frozenset[str]
    members: str | None


@cache
def parameter_classes(module: str) -> dict[str, dict[str, Parameter]]:
    """Return the parameter types of one module of `stripe.params` by name."""
    text = (_ROOT.parent / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    names = {node.name for node in nodes}
    return {node.name: _fields(node, names) for node in nodes}


def _fields(node: ast.ClassDef, names: set[str]) -> dict[str, Parameter]:
    fields = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            source = ast.unparse(statement.annotation)
            inner = [name for name in re.findall(r"\w+", source) if name in names]
            fields[statement.target.id] = Parameter(
                required="NotRequired" not in source,
                words=frozenset(_words(source)),
                members=inner[0] if inner else None,
            )
    return fields


def _words(source: str) -> list[str]:
    """Return the words of every Literal in an annotation, also of those inside a text."""
    words: list[str] = []
    for node in ast.walk(ast.parse(source, mode="eval")):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            words += [
                one.value
                for one in ast.walk(node.slice)
                if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "Literal[" in node.value:
            words += _words(node.value)
    return words
