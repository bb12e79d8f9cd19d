"""Error reports: sent when there is somewhere to send them, with the trace and the request's id, and nobody's data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from flask import Flask
from flask.testing import FlaskClient
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from portal import worker
from portal.core import error_tracking
from portal.core.error_tracking import before_send, init_error_tracking
from portal.core.jobs import ROUND
from tests import switches
from tests.cast import Cast


class FakeTransport(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.reports: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        report = envelope.get_event()
        assert report is not None
        self.reports.append(dict(report))


@pytest.fixture
def reports(app: Flask) -> Iterator[list[dict[str, Any]]]:
    transport = FakeTransport()
    with switches.settings(app, sentry_dsn="https://key@errors.example.com/1"):
        init_error_tracking(app.config["SETTINGS"], transport)
        yield transport.reports
    error_tracking._state["sdk"] = None
    sentry_sdk.get_global_scope().set_client(None)


def break_view(monkeypatch: pytest.MonkeyPatch, app: Flask, endpoint: str, error: Exception) -> None:
    def broken(**_values: object) -> None:
        password = "canary-password"
        assert password
        raise error

    monkeypatch.setitem(app.view_functions, endpoint, broken)


def test_an_unexpected_error_is_reported_with_its_trace_and_the_requests_id(
    app: Flask, cast: Cast, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_view(monkeypatch, app, "catalog.pricing", RuntimeError("for canary@example.com with sk_test_canary"))
    answer = cast.owner.client.post(
        "/pricing?secret=canary-query",
        headers={"Authorization": "Bearer canary-token"},
        data={"password": "canary-form"},
    )
    assert answer.status_code == 405
    answer = cast.owner.client.get("/pricing?secret=canary-query", headers={"Authorization": "Bearer canary-token"})
    assert answer.status_code == 500
    (report,) = reports
    assert report["exception"]["values"][-1]["type"] == "RuntimeError"
    assert report["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "broken"
    assert report["tags"]["request_id"] == answer.headers["Request-Id"]
    assert "user" not in report
    assert "request" not in report
    report["exception"]["values"][-1]["stacktrace"]["frames"].pop()  # it shows the lines of this test
    assert "canary" not in json.dumps(report)
    assert "vars" not in json.dumps(report)


def test_what_goes_wrong_in_the_worker_is_reported(
    app: Flask, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise LookupError(f"round of {ROUND}")

    monkeypatch.setattr(worker, "_tasks", broken)
    worker.drain()
    assert [report["tags"]["event"] for report in reports] == ["drain_failed"]
    assert reports[0]["exception"]["values"][-1]["type"] == "LookupError"


def test_an_error_without_an_exception_is_reported_in_its_words(reports: list[dict[str, Any]]) -> None:
    structlog.get_logger("x").error("alarm", kind="dead_event", subject="evt_1", email="canary@example.com")
    structlog.get_logger("x").warning("not_an_error")
    (report,) = reports
    assert report["message"] == "alarm"
    assert report["tags"]["kind"] == "dead_event"
    assert "canary" not in json.dumps(report)


def test_a_report_that_cannot_be_sent_changes_nothing(
    app: Flask, client: FlaskClient, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_more: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(sentry_sdk, "capture_exception", fails)
    break_view(monkeypatch, app, "catalog.pricing", RuntimeError("x"))
    assert client.get("/pricing").status_code == 500
    assert reports == []


def test_without_a_dsn_nothing_is_set_up(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    init_error_tracking(app.config["SETTINGS"])
    assert error_tracking._state["sdk"] is None
    break_view(monkeypatch, app, "catalog.pricing", RuntimeError("x"))
    assert client.get("/pricing").status_code == 500
    assert not sentry_sdk.is_initialized()


def test_s70_whatever_the_library_gathers_only_the_list_leaves() -> None:
    frame = {"function": "f", "vars": {"password": "canary"}, "lineno": 1}
    report = {
        "level": "error",
        "exception": {"values": [{"type": "E", "value": "to a@canary.example", "stacktrace": {"frames": [frame]}}]},
        "request": {"url": "https://x/?canary", "cookies": "canary", "headers": {"Authorization": "canary"},
                    "data": {"card": "canary"}, "query_string": "canary"},
        "user": {"email": "canary", "ip_address": "canary"},
        "breadcrumbs": {"values": [{"message": "canary"}]},
        "extra": {"canary": "canary"},
        "contexts": {"canary": {}},
        "modules": {"canary": "1"},
        "server_name": "canary",
    }  # fmt: skip
    sent = before_send(report, None)
    assert "canary" not in json.dumps(sent)
    assert sent["exception"]["values"][0]["stacktrace"]["frames"] == [{"function": "f", "lineno": 1}]
