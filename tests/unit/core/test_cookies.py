"""The session cookie: people's alone."""

from __future__ import annotations

import pytest
from flask import Flask, session

from portal.core.cookies import PeoplesSessions


@pytest.fixture
def small() -> Flask:
    app = Flask(__name__)
    app.secret_key = "of-a-test"
    app.session_interface = PeoplesSessions()

    @app.get("/page")
    @app.get("/api/v1/call")
    @app.get("/webhooks/stripe")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    return app


@pytest.mark.parametrize("path", ["/api/v1/call", "/webhooks/stripe"])
def test_what_programs_call_knows_no_cookie(small: Flask, path: str) -> None:
    client = small.test_client()
    assert [client.get("/page").text for _ in range(2)] == ["1", "2"]
    answers = [client.get(path) for _ in range(2)]
    assert [answer.text for answer in answers] == ["1", "1"], "neither the page's session nor one of its own"
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    assert client.get("/page").text == "3"
