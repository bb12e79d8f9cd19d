"""The OpenAPI document, completed: what the library cannot know of headers, examples and errors is added to its own."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from portal.api.version import API_VERSION, VERSION_HEADER

Json = dict[str, Any]

METHODS = ("post", "get", "put", "patch", "delete")
TAGS = {
    "api_usage": "Usage",
    "api_credits": "Credits",
    "api_holds": "Holds",
    "api_billing": "Billing",
    "api_sessions": "Hosted pages",
}
PAGE_ORDER = ("Usage", "Credits", "Holds", "Billing", "Hosted pages")

HEADERS: Json = {
    "Request-Id": {"description": "Names this request; quote it when you ask for help."},
    VERSION_HEADER: {"description": "The version of the API that answered."},
    "X-RateLimit-Limit": {"description": "Calls a minute that the tightest of your limits allows.", "type": "integer"},
    "X-RateLimit-Remaining": {"description": "Of those, how many are left.", "type": "integer"},
    "X-RateLimit-Reset": {"description": "The second since 1970 when all are back.", "type": "integer"},
    "Retry-After": {"description": "Seconds to wait before sending the same again.", "type": "integer"},
    "WWW-Authenticate": {"description": "The scheme that is accepted."},
}
EVERYWHERE = ("Request-Id", VERSION_HEADER, "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
SOMEWHERE = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}

# By status: what happened, and an error object that says so.
ERRORS: dict[int, tuple[str, str, str, str]] = {
    400: (
        "The request cannot be read, or something stands in its address that does not belong there.",
        "invalid_request_error",
        "invalid_json",
        "The body cannot be read as JSON: Expecting value at line 1, column 1.",
    ),
    401: (
        "There is no API key, or one that is not valid now.",
        "authentication_error",
        "key_invalid",
        "This API key is not one of ours.",
    ),
    403: (
        "The API key lacks the scope or is of the other mode, or billing is closed for the team.",
        "permission_error",
        "missing_scope",
        "This API key does not have the scope usage:write.",
    ),
    413: (
        "The body is too large.",
        "invalid_request_error",
        "body_too_large",
        "The data value transmitted exceeds the capacity limit.",
    ),
    415: (
        "The body is not declared as application/json in UTF-8.",
        "invalid_request_error",
        "unsupported_media_type",
        "Send the body as JSON in UTF-8, with the header Content-Type: application/json.",
    ),
    422: (
        "A field is missing, wrong or unknown.",
        "invalid_request_error",
        "invalid_field",
        "quantity: Must be a whole number from 1 to 1,000,000.",
    ),
    429: (
        "Too many requests in a short time. Nothing was done.",
        "rate_limit_error",
        "too_many_requests",
        "Too many requests in a short time. Nothing was done; wait as Retry-After says and send it again.",
    ),
    500: (
        "Something went wrong on our side. Send the same again with the same key.",
        "api_error",
        "internal",
        "Something went wrong on our side. Nothing was charged.",
    ),
    502: (
        "Stripe refused, for a reason on our side. Nothing was charged.",
        "api_error",
        "payment_provider_refused",
        "Stripe did not open the page, for a reason on our side; it is in our log. Nothing was charged.",
    ),
    503: (
        "Busy. Wait as Retry-After says and send the same again.",
        "api_error",
        "internal",
        "The database is busy or away. Try again; the same idempotency key never counts twice.",
    ),
}


def completed(document: Json) -> Json:
    """The library's document with headers, examples and words for errors. It is changed in place."""
    components = document["components"]
    for name, header in HEADERS.items():
        kind = {"type": header.get("type", "string")}
        components.setdefault("headers", {})[name] = {"description": header["description"], "schema": kind}
    for name, response in components["responses"].items():
        _complete_error(HTTPStatus[name], response, components)
    for calls in document["paths"].values():
        # What stands in an address is said with each call at it, as everything else is.
        named = calls.pop("parameters", [])
        for operation in calls.values():
            operation["parameters"] = named + operation.get("parameters", [])
    for tag in document["tags"]:
        tag["name"] = TAGS[tag["name"]]
    for operation in operations(document):
        _complete_operation(operation, components)
    for schema in components["schemas"].values():
        for field in schema.get("properties", {}).values():
            field.pop("x-example-key", None)
    return document


def operations(document: Json) -> Iterator[Json]:
    return (methods[method] for methods in document["paths"].values() for method in METHODS if method in methods)


def example_of(schema: Json, components: Json) -> Any:
    """An example of what `schema` describes, put together from those of its fields; what may be left out and has none
    is left out.
    """
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        return example_of(components["schemas"][schema["$ref"].rsplit("/", 1)[1]], components)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return example_of(schema[several][0], components)
    if "properties" in schema:
        shown = schema["properties"].items()
        required = schema.get("required", [])
        return {name: example_of(field, components) for name, field in shown if name in required or "example" in field}
    if "additionalProperties" in schema:
        return {schema["x-example-key"]: example_of(schema["additionalProperties"], components)}
    if schema["type"] == "array":
        return [example_of(schema["items"], components)]
    raise ValueError(f"the document gives no example of {schema}")


def _complete_operation(operation: Json, components: Json) -> None:
    operation["tags"] = [TAGS[tag] for tag in operation["tags"]]
    operation.setdefault("parameters", []).append(
        {
            "in": "header",
            "name": VERSION_HEADER,
            "description": "The version you were written for; another one than ours is refused. Leave it out for ours.",
            "schema": {"type": "string", "enum": [API_VERSION]},
        }
    )
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            _complete_response(status, response, components)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        media["example"] = example_of(media["schema"], components)


def _complete_response(status: str, response: Json, components: Json) -> None:
    headers = response.setdefault("headers", {})
    for name in (*EVERYWHERE, *SOMEWHERE.get(status, ())):
        headers[name] = {"$ref": f"#/components/headers/{name}"}
    for media in response.get("content", {}).values():
        media.setdefault("example", example_of(media["schema"], components))


def _complete_error(status: HTTPStatus, response: Json, components: Json) -> None:
    """One answer that many calls share. Its status must have words here."""
    words, kind, code, message = ERRORS[status.value]
    response["description"] = words
    for media in response["content"].values():
        error: Json = example_of(media["schema"], components)
        media["example"] = {"error": without_param(error["error"]) | {"type": kind, "code": code, "message": message}}
        media["example"]["error"]["doc_url"] = error["error"]["doc_url"].partition("#")[0] + "#" + code
    _complete_response(str(status.value), response, components)


def without_param(error: Json) -> Json:
    return {name: value for name, value in error.items() if name != "param"}
