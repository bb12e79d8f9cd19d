"""The blueprint of every API call: strict reading, and the answers that all calls have in common."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema

from portal.accounts.api_keys import Scope
from portal.api.authentication import requires
from portal.api.reading import StrictParser

View = Callable[..., Any]

COMMON_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
BODY_ERRORS = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


class ApiBlueprint(Blueprint):
    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, url_prefix="/api/v1", **options)
        self.after_request(_name_the_scheme)

    def arguments(self, schema: type[Schema], **options: Any) -> Callable[[View], View]:
        """As the library's, with one schema for all requests: of a class it makes one for each."""
        decorate: Callable[[View], View] = super().arguments(schema(), **options)
        return decorate

    def operation(self, scope: Scope, *errors: HTTPStatus, query: type[Schema] | None = None) -> Callable[[View], View]:
        """Guard a call by `scope` and document its errors: those that every call has, and `errors`.

        `query` says which parameters it takes in its address; the view gets them as its argument.
        """

        def decorate(view: View) -> View:
            documented, parameters = view, set()
            if query is not None:
                documented = self.arguments(query, location="query")(view)
                parameters = {field.data_key or name for name, field in query().fields.items()}
            documented = requires(scope, parameters)(documented)
            for status in (*COMMON_ERRORS, *errors):
                documented = self.alt_response(status.value, status.name)(documented)
            return self.doc(operationId=view.__name__, security=[{"bearer": [scope.value]}])(documented)

        return decorate


def _name_the_scheme(response: Response) -> Response:
    """A 401 names the scheme that would be accepted, as HTTP asks for."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Turnpike API"'
    return response
