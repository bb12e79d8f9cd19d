"""Structured logs: one JSON object a line with the request's id; no personal data, no secrets."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Flask, Response, g, request

from portal.core.error_tracking import report_error
from portal.core.ids import new_id
from portal.core.scrub import scrub_event
from portal.settings import Settings

log = structlog.get_logger("portal.request")

# What JSON has no word for is shown as Python does.
_encoder = json.JSONEncoder(default=repr)

# Health checks are asked every few seconds by machines and would drown the rest.
SILENT_PATHS = {"/healthz", "/readyz", "/metrics"}


def configure_logging(settings: Settings) -> None:
    """Send structlog and the standard library's loggers to stderr as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        report_error,
        structlog.processors.format_exc_info,
        scrub_event,
    ]
    # Written straight away: by way of the standard library a line costs twice as much, and every request leaves one.
    structlog.configure(
        processors=[*shared, _as_json],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _as_json,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # Below warning the Stripe SDK and urllib3 log addresses and bodies.
    for noisy in ("stripe", "urllib3", "rq", "rq.worker"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _as_json(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    return _encoder.encode(event)


def init_request_logging(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.request_id = new_id("req")
        g.started = time.monotonic()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["Request-Id"] = request_id()
        if request.path not in SILENT_PATHS and request.endpoint not in ("static", "bundles.bundle"):
            rule = request.url_rule
            log.info(
                "request",
                method=request.method,
                route=rule.rule if rule else None,
                status=response.status_code,
                duration_ms=round((time.monotonic() - g.get("started", time.monotonic())) * 1000, 1),
            )
        return response


def request_id() -> str:
    """The current request's id; it stands in every answer, log line and error page."""
    if "request_id" not in g:
        g.request_id = new_id("req")
    return str(g.request_id)
