"""Binds the API to the app: its calls, and the OpenAPI document at `/api/v1/openapi.json`."""

from __future__ import annotations

from flask import Flask
from flask_smorest import Api

from portal.api.credits import bp as credits_calls
from portal.api.schemas import ErrorAnswer
from portal.api.usage import bp as usage_calls
from portal.extensions import csrf
from portal.settings import Settings

ABOUT = (
    "Meter what your customers use, and read what they have left. Every call carries an API key of a team: "
    "`Authorization: Bearer tp_…`. A key of one mode never works in the other. Amounts are whole credits, moments are "
    "RFC 3339 in UTC. Errors are objects with a `type`, a `code` and a `message`."
)


class TurnpikeApi(Api):
    """The library's extension without its error handler, which would answer people's pages with JSON too."""

    ERROR_SCHEMA = ErrorAnswer

    def _register_error_handlers(self) -> None:
        """`portal.core.errors` answers all errors, of the API as of the pages."""


def init_app(app: Flask, settings: Settings) -> None:
    app.config.update(OPENAPI_URL_PREFIX="/api/v1", OPENAPI_JSON_PATH="openapi.json")
    api = TurnpikeApi(
        spec_kwargs={
            "title": "Turnpike API",
            "version": "v1",
            "openapi_version": "3.1.0",
            "info": {"description": ABOUT},
            "servers": [{"url": settings.base_url}],
        }
    )
    api.init_app(app)
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "description": "An API key, made on the team's API keys page."}
    )
    for calls in (usage_calls, credits_calls):
        csrf.exempt(calls)
        api.register_blueprint(calls)
