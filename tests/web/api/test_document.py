"""The OpenAPI document, and that the API's library has not taken over the pages' errors."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from portal.accounts.api_keys import Scope


def test_the_document_is_valid_and_describes_every_call(app: Flask, client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["info"]["title"] == "Turnpike API"
    calls = {
        (rule.rule, method.lower())
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
