"""Several people act in one test here, so each request gets a context of its own, as it does on a server."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class SeparateRequests(FlaskClient):
    """Else a request would find the person whom an earlier one has left in the test's own context."""

    def open(self, *args: Any, **more: Any) -> TestResponse:
        with self.application.app_context():
            return super().open(*args, **more)


@pytest.fixture
def app(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(app, "test_client_class", SeparateRequests)
    return app
