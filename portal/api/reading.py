"""Reading a request: strict JSON, a schema, and errors in the API's own words."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from portal.core.errors import ApiError


class StrictParser(FlaskParser):
    """Refuses what lenient readers let pass: other content types, NaN, a field given twice, too deep a nesting."""

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002  # the library's signature
        return read_json(req)

    def handle_error(
        self, error: ValidationError, *_args: Any, error_status_code: int | None, **_more: Any
    ) -> NoReturn:
        param, message = _first_fault(error.messages)
        code = "invalid_field" if param else "invalid_body"
        extra: dict[str, Any] = {"param": param} if param else {}
        raise ApiError(error_status_code or 422, "invalid_request_error", code, message, **extra) from error


def read_json(req: Request) -> Any:
    """The body's value. Raises `ApiError` 415 for another type of content, 400 for what cannot be read."""
    charset = req.mimetype_params.get("charset", "utf-8").lower()
    if req.mimetype != "application/json" or charset != "utf-8":
        message = "Send the body as JSON in UTF-8, with the header Content-Type: application/json."
        raise ApiError(415, "invalid_request_error", "unsupported_media_type", message)
    try:
        return json.loads(
            req.get_data().decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_each_name_once
        )
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _unreadable("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _unreadable(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:
        # Ours from the hooks below, or Python's own refusal of a number with thousands of digits.
        reason = str(error) if isinstance(error, _NotStrictError) else "it holds a number of too many digits"
        raise _unreadable(reason) from error


class _NotStrictError(ValueError):
    pass


def _refuse_constant(name: str) -> NoReturn:
    raise _NotStrictError(f"{name} is not JSON")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values for one name are read differently by different programs, so neither is taken."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotStrictError("a field is given twice")
    return found


def _unreadable(reason: str) -> ApiError:
    return ApiError(400, "invalid_request_error", "invalid_json", f"The body cannot be read as JSON: {reason}.")


def _first_fault(messages: Any) -> tuple[str | None, str]:
    """The first field that is wrong and why; no field when the body as a whole is."""
    faults = next(iter(messages.values())) if isinstance(messages, dict) else messages
    if isinstance(faults, dict) and faults:
        path, problems = _deepest(faults)
        if path != "_schema":
            return path, f"{path}: {problems[0]}"
    return None, "The body must be a JSON object with the fields that the documentation names."


def _deepest(faults: dict[Any, Any]) -> tuple[str, Any]:
    """Where the first fault is, such as `uses[3].quantity`, and what is wrong there."""
    path, found = "", faults
    while isinstance(found, dict) and found:
        name, found = next(iter(found.items()))
        if name == "_schema" and path:
            break
        path += f"[{name}]" if isinstance(name, int) else f".{_printable(str(name))}"
    return path.removeprefix("."), found


def _printable(name: str) -> str:
    """A name that the caller made up, fit for an answer and a log line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])
