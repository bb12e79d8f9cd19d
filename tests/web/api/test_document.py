"""The OpenAPI document, and that the API's library has not taken over the pages' errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from portal.accounts.api_keys import Scope
from portal.api.error_codes import CODES
from portal.api.schemas.errors import TYPES
from portal.core.errors import API_FALLBACK, API_TYPES

ROOT = Path(__file__).resolve().parents[3]
# Codes that stand in a conditional expression, which the test below does not take apart.
CONDITIONAL = {"invalid_field", "invalid_body"}


def test_the_document_is_valid_and_describes_every_call(app: Flask, client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["info"]["title"] == "Turnpike API"
    calls = {
        (re.sub("<([a-z_]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.rule != "/api/v1/openapi.json"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert calls == {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_every_call_is_guarded_by_a_scope(app: Flask, client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            (security,) = operation["security"]
            assert set(security["bearer"]) <= {scope.value for scope in Scope}
            assert security["bearer"], f"{method} {path}"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/apis", 404), ("DELETE", "/pricing", 405)]
)
def test_errors_of_pages_stay_pages(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nowhere", 404), ("PUT", "/api/v1/usage", 405), ("DELETE", "/api/v1/credits", 405)],
)
def test_errors_of_the_api_are_its_error_object(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert set(answer.get_json()["error"]) == {"type", "code", "message", "doc_url", "request_id"}


def test_two_apps_can_be_made(app: Flask) -> None:
    """Blueprints are made once and bound to each app; the second one's document is as complete."""
    from portal import create_app

    second = create_app(app.config["SETTINGS"])
    assert second.test_client().get("/api/v1/openapi.json").data == app.test_client().get("/api/v1/openapi.json").data


def test_every_example_is_what_its_schema_says(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    media = [
        one
        for methods in document["paths"].values()
        for operation in methods.values()
        for holder in (operation.get("requestBody", {}), *operation["responses"].values())
        for one in holder.get("content", {}).values()
    ]
    media += [one for answer in document["components"]["responses"].values() for one in answer["content"].values()]
    for one in media:
        schema = one["schema"] | {"components": document["components"]}
        validator: Any = OAS31Validator(schema, format_checker=oas31_format_checker)
        validator.validate(one["example"])
    assert len(media) > 15


def test_every_field_and_answer_is_explained(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    for name, schema in document["components"]["schemas"].items():
        for field, found in schema.get("properties", {}).items():
            assert found.get("description") or "$ref" in found, f"{name}.{field}"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"
            assert operation["description"], f"{method} {path}"
            assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys()


def test_every_code_that_is_answered_is_in_the_table() -> None:
    """The second and third text of an `ApiError(status, kind, code, …)`, wherever one is made."""
    made = set()
    for path in sorted((ROOT / "portal").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if named and node.func.id in ("ApiError", "_refused") and node.args:  # type: ignore[attr-defined]
                made |= codes_in(node)  # type: ignore[arg-type]
    made |= {code for _, code in (*API_TYPES.values(), *API_FALLBACK.values())}
    assert made <= CODES.keys()


def codes_in(call: ast.Call) -> set[str]:
    texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return {text for text in texts if re.fullmatch("[a-z_]+", text) and text not in TYPES} | CONDITIONAL


def test_the_page_shows_every_call_and_code(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    page = client.get("/docs/api").get_data(as_text=True)
    for path, methods in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in methods.values():
            assert f'id="{operation["operationId"].replace("_", "-")}"' in page
    for code in CODES:
        assert f'id="{code}"' in page


def test_an_error_leads_to_what_it_means(client: FlaskClient) -> None:
    address = client.get("/api/v1/credits").get_json()["error"]["doc_url"]
    path, _, anchor = address.partition("#")
    page = client.get(path.removeprefix(client.application.config["SETTINGS"].base_url))
    assert f'id="{anchor}"' in page.get_data(as_text=True)
