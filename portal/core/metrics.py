"""What is counted, and `/metrics`, which shows it: counters of all processes of this host, and what the database knows.

The processes share their counters through files in `PROMETHEUS_MULTIPROC_DIR`. No label ever holds an id or what a request made up: routes are the URL map's, kinds come from tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hmac import compare_digest
from pathlib import Path

import structlog
from flask import Blueprint, Flask, Response, abort, current_app, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from portal.core.database import db
from portal.settings import LOOPBACK, Settings
from portal.version import VERSION

log = structlog.get_logger(__name__)

bp = Blueprint("metrics", __name__)

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
if os.environ.get(MULTIPROCESS):
    Path(os.environ[MULTIPROCESS]).mkdir(parents=True, exist_ok=True)  # before the first counter is made
disable_created_metrics()  # several processes have no common beginning
# Ours alone; the library's own would add figures of whichever process happens to answer.
REGISTRY = CollectorRegistry()
SCRAPE_LIMIT = text("set local statement_timeout = '2s'")

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

HTTP = Histogram(
    "billing_http_request_duration_seconds",
    "How long requests took.",
    ("route", "method", "status"),
    buckets=SECONDS,
    registry=REGISTRY,
)


# What a feature reads from the database when it is asked: the `GAUGES` of its module `gauges`.
Gauges = Callable[[], Iterable[Metric]]


def counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(name, documentation, labels, registry=REGISTRY)


def histogram(name: str, documentation: str, *labels: str) -> Histogram:
    return Histogram(name, documentation, labels, buckets=SECONDS, registry=REGISTRY)


def gauge(name: str, documentation: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def gauges(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    """One value for each of the label's."""
    family = GaugeMetricFamily(name, documentation, labels=(label,))
    for of, value in values.items():
        family.add_metric((of,), value)
    return family


class DatabaseCollector:
    """Asks every feature for what the database knows now. Without a database the other figures are still shown."""

    def __init__(self, sources: Iterable[Gauges]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        yield gauge("billing_build_info", "The version that runs.", 1, version=VERSION)
        found = self._read()
        yield gauge("billing_database_up", "Whether the database answered this scrape.", 0 if found is None else 1)
        yield from found or ()

    def _read(self) -> list[Metric] | None:
        try:
            db.session.execute(SCRAPE_LIMIT)
            return list(_merged(metric for source in self._sources for metric in source()))
        except SQLAlchemyError as error:
            log.warning("scrape_failed", reason=type(error).__name__)
            return None
        finally:
            db.session.rollback()


def _merged(metrics: Iterable[Metric]) -> Iterable[Metric]:
    """One family for each name: several features may tell their share of it."""
    found: dict[str, Metric] = {}
    for metric in metrics:
        if metric.name in found:
            found[metric.name].samples += metric.samples
        else:
            found[metric.name] = metric
    return found.values()


@bp.get("/metrics")
def metrics() -> Response:
    _authorise(current_app.config["SETTINGS"])
    registry = CollectorRegistry()
    shared = os.environ.get(MULTIPROCESS)
    if shared:
        MultiProcessCollector(registry, shared)
    registry.register(DatabaseCollector(current_app.extensions["gauges"]))
    body = generate_latest(registry) if shared else generate_latest(REGISTRY) + generate_latest(registry)
    return Response(body, content_type=CONTENT_TYPE_LATEST)


def _authorise(settings: Settings) -> None:
    """With `METRICS_TOKEN`, whoever sends it. Without, nobody in production; elsewhere whoever is on this machine.

    A proxy on the same machine makes everybody look as if they were, so production does not go by the address.
    """
    if settings.metrics_token is None:
        if settings.production or request.remote_addr not in LOOPBACK:
            _unauthorised()
        return
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not compare_digest(token.strip().encode(), settings.metrics_token.encode()):
        _unauthorised()


def _unauthorised() -> None:
    answer = Response("A token is needed.\n", 401, mimetype="text/plain")
    answer.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
    abort(answer)


def init_metrics(app: Flask, sources: Iterable[Gauges]) -> None:
    app.extensions["gauges"] = list(sources)

    @app.after_request
    def measure(response: Response) -> Response:
        if request.endpoint not in ("static", "bundles.bundle", "metrics.metrics"):
            rule, method = request.url_rule, request.method
            HTTP.labels(
                rule.rule if rule else "none", method if method in METHODS else "other", response.status_code
            ).observe(time.monotonic() - g.get("started", time.monotonic()))
        return response
