"""Error tracking: every line of log at level error is reported too, when `SENTRY_DSN` says where to.

The library's own hooks into Flask and logging stay off, since they gather headers, forms and variables: a report holds
the exception's trace, what the line says in tags, and nothing of the request or the person. It is sent by a thread of
the library's, which drops reports rather than let anybody wait.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from portal.core.scrub import scrub_all
from portal.settings import Settings
from portal.version import VERSION

# What a line of log may say of itself in a report; everything else in it stays in the log.
TAGS = ("request_id", "event", "kind", "task", "part", "event_type", "attempt", "reason")
KEPT = frozenset(
    ("event_id", "timestamp", "level", "platform", "exception", "message", "logentry", "tags", "release", "environment",
     "sdk", "type", "transaction")
)  # fmt: skip
# Reporting that reports cannot be sent would go round in a circle.
OWN_LOGGERS = ("sentry_sdk", "urllib3")

_state: dict[str, Any] = {"sdk": None}


def init_error_tracking(settings: Settings, transport: Any = None) -> None:
    """Does nothing without a DSN; the library is not even imported then."""
    if settings.sentry_dsn is None:
        return
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        transport=transport,
        environment=settings.env,
        release=f"turnpike@{VERSION}",
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        shutdown_timeout=1,
        before_send=before_send,  # type: ignore[arg-type]  # the library's own names for the same dicts
    )
    _state["sdk"] = sentry_sdk


def report_error(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For structlog, before it turns an exception into text."""
    sdk = _state["sdk"]
    if sdk is not None and line.get("level") in ("error", "critical") and not _of_its_own(line):
        with suppress(Exception):  # a report that fails must not become a failure of what is reported
            _report(sdk, line)
    return line


def _of_its_own(line: MutableMapping[str, Any]) -> bool:
    record = line.get("_record")
    return record is not None and record.name.startswith(OWN_LOGGERS)


def _report(sdk: Any, line: MutableMapping[str, Any]) -> None:
    error = _exception(line.get("exc_info"))
    with sdk.new_scope() as scope:
        for name in TAGS:
            if name in line:
                scope.set_tag(name, str(line[name])[:200])
        if error is not None:
            sdk.capture_exception(error)
        else:
            sdk.capture_message(str(line.get("event")), level="error")


def _exception(given: Any) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 else None
    return sys.exc_info()[1] if given else None


def before_send(report: dict[str, Any], _hint: Any) -> dict[str, Any]:
    """Only what is on the list leaves, and no text in it holds a secret or an address."""
    kept = {name: value for name, value in report.items() if name in KEPT}
    for exception in (kept.get("exception") or {}).get("values") or []:
        for frame in (exception.get("stacktrace") or {}).get("frames") or []:
            frame.pop("vars", None)
    scrubbed: dict[str, Any] = scrub_all(kept)
    return scrubbed
