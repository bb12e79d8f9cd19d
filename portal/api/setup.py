"""Binds the API to the app: its calls, its limits, and the OpenAPI document at `/api/v1/openapi.json`."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from flask import Flask, Response
from flask_smorest import Api

from portal.api import usage_batch  # noqa: F401  adds its call to those of usage
from portal.api.billing import bp as billing_calls
from portal.api.credits import bp as credits_calls
from portal.api.document import completed
from portal.api.limits import init_api_limits
from portal.api.schemas.errors import ErrorAnswer
from portal.api.sessions import bp as session_calls
from portal.api.usage import bp as usage_calls
from portal.api.usage_refusals import init_metered_routes
from portal.api.version import API_VERSION
from portal.extensions import csrf
from portal.settings import Settings

EXTENSION = "turnpike_api"
ABOUT = (
    "Meter what your customers use, ask what they may do and have left, and send them where they can pay. Every call "
    "carries an API key of a team: `Authorization: Bearer tp_…`. A key of one mode never works in the other. Amounts "
    "of money are whole numbers in the currency's smallest unit, credits are whole, moments are RFC 3339 in UTC. "
    "Errors are objects with a `type`, a `code` and a `message`."
)


class TurnpikeApi(Api):
    """The library's extension without its error handler, which would answer people's pages with JSON too."""

    ERROR_SCHEMA = ErrorAnswer
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """`portal.core.errors` answers all errors, of the API as of the pages."""

    @cached_property
    def document(self) -> dict[str, Any]:
        return completed(json.loads(json.dumps(self.spec.to_dict())))

    @cached_property
    def text(self) -> str:
        return json.dumps(self.document, indent=2)

    def _openapi_json(self) -> Response:
        return Response(self.text, mimetype="application/json")


def init_app(app: Flask, settings: Settings) -> None:
    app.config.update(OPENAPI_URL_PREFIX="/api/v1", OPENAPI_JSON_PATH="openapi.json")
    api = TurnpikeApi(
        spec_kwargs={
            "title": "Turnpike API",
            "version": API_VERSION,
            "openapi_version": "3.1.0",
            "info": {"description": ABOUT},
            "servers": [{"url": settings.base_url}],
        }
    )
    api.init_app(app)
    app.extensions[EXTENSION] = api
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "description": "An API key, made on the team's API keys page."}
    )
    for calls in (usage_calls, credits_calls, billing_calls, session_calls):
        csrf.exempt(calls)
        api.register_blueprint(calls)
    init_api_limits(app)
    init_metered_routes(app)
