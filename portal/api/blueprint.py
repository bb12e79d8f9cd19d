"""The blueprint of every API call: strict reading, and the answers that all calls have in common."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from portal.accounts.api_keys import Scope
from portal.api.authentication import requires
from portal.api.reading import StrictParser

View = Callable[..., Any]

REQUEST_ID_HEADER = {"Request-Id": {"description": "Names this request.", "schema": {"type": "string"}}}
COMMON_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class ApiBlueprint(Blueprint):
    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, url_prefix="/api/v1", **options)
        self.after_request(_name_the_scheme)

    def operation(self, scope: Scope, *errors: HTTPStatus) -> Callable[[View], View]:
        """Guard a call by `scope` and document its errors: those that every call has, and `errors`."""

        def decorate(view: View) -> View:
            documented = requires(scope)(view)
            for status in (*COMMON_ERRORS, *errors):
                documented = self.alt_response(status.value, status.name)(documented)
            return self.doc(operationId=view.__name__, security=[{"bearer": [scope.value]}])(documented)

        return decorate


def _name_the_scheme(response: Response) -> Response:
    """A 401 names the scheme that would be accepted, as HTTP asks for."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Turnpike API"'
    return response
