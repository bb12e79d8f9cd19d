"""`/metrics`: who may read it, which figures are there, and that no label can grow without end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from sqlalchemy import update

from portal.billing.gateway import Gateway
from portal.catalog.loader import load_catalog, preset_names
from portal.core import readings
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.metrics import REGISTRY
from portal.core.unit_of_work import unit_of_work
from portal.credits import jobs as credit_jobs
from portal.credits.errors import InsufficientCredits
from portal.credits.models import CreditAccount
from portal.usage.uses import MeteringError
from portal.version import VERSION
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.models import StripeEvent
from portal.worker import tasks
from tests import switches
from tests.cast import Cast
from tests.stage import Stage
from tests.web.api.backend import backend_of
from tests.web.door import THIN

ROOT = Path(__file__).resolve().parents[2]

# The names of the operations guide that have a source today.
NAMES = {
    "billing_build_info", "billing_http_request_duration_seconds", "billing_webhook_events_total",
    "billing_webhook_lag_seconds", "billing_webhook_backlog", "billing_stripe_requests_total",
    "billing_stripe_request_duration_seconds", "billing_credits_consumed_total", "billing_uncounted_uses_total",
    "billing_meter_reports_total", "billing_meter_backlog", "billing_meter_refused", "billing_meter_drift",
    "billing_ledger_drift_credits",
    "billing_ledger_violations", "billing_ledger_proof_age_seconds", "billing_outbox_pending", "billing_queue_depth",
    "billing_queue_oldest_seconds", "billing_alarms_open", "billing_schedule_overdue_seconds",
    "billing_schedule_failing", "billing_database_up",
}  # fmt: skip

TOKEN = "metrics-token-0123456789"


def scrape(client: FlaskClient) -> dict[str, list[Sample]]:
    """The samples by the name that the guide gives them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name not in found, f"{name} is told twice"
        found[name] = family.samples
    return found


def value(client: FlaskClient, name: str, **labels: str) -> float:
    samples = [sample for sample in scrape(client).get(name, []) if labels.items() <= sample.labels.items()]
    return sum(sample.value for sample in samples if not sample.name.endswith(("_created", "_bucket", "_sum")))


def test_every_name_is_there_and_nothing_else(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    with unit_of_work():
        raise_alarm("webhook_lag", "inbox")
    credit_jobs.prove_ledger()
    found = scrape(cast.anonymous)
    assert set(found) == NAMES
    # After a whole purchase each has something to say, but for what only the API does.
    assert {name for name, samples in found.items() if not samples} <= {
        "billing_credits_consumed_total",
        "billing_uncounted_uses_total",
        "billing_meter_reports_total",
    }
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert {name for name in NAMES if f"`{name}" not in guide} == set()


def test_uses_count_the_credits_they_took_and_replays_nothing(app: Flask, cast: Cast, client: FlaskClient) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(100)
    before = value(client, "billing_credits_consumed_total", meter="send_email")
    for _ in range(2):
        assert backend.use("send_email", 3, key="once").status_code == 200
    assert value(client, "billing_credits_consumed_total", meter="send_email") - before == 3


def test_labels_are_bounded(app: Flask, cast: Cast, stage: Stage) -> None:
    """Whatever a request brings, an address, a method, a type, an id, makes no label of its own."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    cast.owner.client.get(f"/teams/{cast.team_id}/billing")
    cast.owner.client.get(f"/{new_id('made')}/up")
    cast.owner.client.open("/pricing", method="PROPFIND")
    stage.deliver({"id": new_id("evt"), "object": "event", "type": f"made.up.{new_id('x')}", "created": 1_790_000_000,
                   "livemode": False, "data": {"object": {"id": "x"}}})  # fmt: skip
    stage.deliver({**THIN, "id": new_id("evt")})
    stage.drain()
    with unit_of_work():
        raise_alarm("dead_event", new_id("evt"))
    bounds = {
        "route": {rule.rule for rule in app.url_map.iter_rules()} | {"none"},
        "method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
        "type": set(HANDLERS) | {"other"},
        "outcome": {"kept", "duplicate", "held", "ignored", "refused", "done", "parked", "retried", "dead"},
        "queue": {"events", "mails", "exports"},
        "state": {"pending", "parked", "held"},
        "task": set(tasks()),
        # Of every catalog that a test of this process has sold from.
        "meter": {
            word
            for preset in preset_names()
            for meter in load_catalog(preset).meters
            for word in (meter.key, meter.name)
        },
        "why": {"unavailable", InsufficientCredits.__name__}
        | {kind.__name__ for kind in MeteringError.__subclasses__()},
        "version": {VERSION},
    }
    # Of every counter, whether or not a test of this process has counted with it before.
    for counter in REGISTRY._collector_to_names:
        for name in getattr(counter, "_labelnames", ()):
            assert name in (*bounds, "status", "operation"), (counter, name)
    for name, samples in scrape(cast.anonymous).items():
        for sample in samples:
            for label, found in sample.labels.items():
                assert not re.search(r"[a-z]{2,6}_[0-9A-Z]{10,}", found), (name, label, found)
                if name == "billing_meter_reports_total":
                    assert found in {"delivered", "pending", "unknown", "refused"}, (name, label, found)
                elif label in bounds and not name.startswith("billing_stripe"):
                    assert found in bounds[label], (name, label)
                elif label == "status":
                    assert re.fullmatch(r"[1-5]\d\d", found)
                elif label == "operation":
                    assert re.fullmatch(r"[A-Za-z]+Service\.[a-z_]+", found)
                else:
                    assert label in ("le", "outcome", "kind"), (name, label)


def test_a_call_to_stripe_is_counted_by_what_came_of_it(app: Flask, client: FlaskClient) -> None:
    def missing() -> float:
        return value(client, "billing_stripe_requests_total", operation="InvoiceService.retrieve", outcome="NotFound")

    before, gateway = missing(), Gateway(app.config["SETTINGS"], seconds=5, retries=0)
    with pytest.raises(Exception, match="in_none"):
        gateway.invoice("in_none")
    assert missing() == before + 1


def test_the_lag_is_the_oldest_event_that_could_be_applied(stage: Stage, client: FlaskClient) -> None:
    assert value(client, "billing_webhook_lag_seconds") == 0
    event = {"id": new_id("evt"), "object": "event", "type": "invoice.paid", "created": 1_790_000_000,
             "livemode": False, "data": {"object": {"id": "in_none"}}}  # fmt: skip
    stage.deliver(event)
    _age(timedelta(minutes=7))
    assert 419 < value(client, "billing_webhook_lag_seconds") < 480
    assert value(client, "billing_queue_depth", queue="events") == 1
    _set(state="held")
    assert value(client, "billing_webhook_lag_seconds") == 0
    assert value(client, "billing_webhook_backlog", state="held") == 1


def test_a_ledger_that_does_not_add_up_shows_as_drift(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    credit_jobs.prove_ledger()
    assert value(cast.anonymous, "billing_ledger_drift_credits") == 0
    with unit_of_work() as session:
        session.execute(update(CreditAccount).values(available=CreditAccount.available + 7))
    assert value(cast.anonymous, "billing_ledger_drift_credits") == 0, "it is read, not measured"
    credit_jobs.prove_ledger()
    teams = 2 if value(cast.anonymous, "billing_ledger_drift_credits") == 14 else 1
    assert value(cast.anonymous, "billing_ledger_drift_credits") == 7 * teams
    assert value(cast.anonymous, "billing_ledger_violations") > 0
    assert value(cast.anonymous, "billing_alarms_open", kind="ledger_drift") == 1


def test_without_a_database_the_counters_are_still_shown(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with unit_of_work() as session:
        readings.take("ledger_drift_credits", 0)
        session.flush()

    def away(*_args: object, **_more: object) -> None:
        raise db_error

    from sqlalchemy.exc import OperationalError

    db_error = OperationalError("select", None, Exception("away"))
    client.get("/pricing")
    monkeypatch.setattr(db.session, "execute", away)
    found = scrape(client)
    assert found["billing_database_up"][0].value == 0
    assert "billing_http_request_duration_seconds" in found
    assert "billing_webhook_lag_seconds" not in found


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
     {"Authorization": "Bearer \u00e9"}, {"Authorization": "Bearer "}],
)  # fmt: skip
def test_s76_metrics_ask_for_the_token(app: Flask, client: FlaskClient, headers: dict[str, str]) -> None:
    with switches.settings(app, metrics_token=TOKEN):
        refused = client.get("/metrics", headers=headers)
        allowed = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert client.get(f"/metrics?token={TOKEN}").status_code == 401
    assert (refused.status_code, allowed.status_code) == (401, 200)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"billing_" not in refused.data


def test_s76_without_a_token_metrics_are_for_this_machine_and_never_in_production(
    app: Flask, client: FlaskClient
) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 401
    with switches.settings(app, env="production"):
        assert client.get("/metrics", base_url=app.config["SETTINGS"].base_url).status_code == 401


COUNT_AND_LEAVE = "from portal.webhooks.counters import count_refused; count_refused()"
SHOW = """
from portal.core.metrics import MULTIPROCESS
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
import os, portal.webhooks.counters
registry = CollectorRegistry()
MultiProcessCollector(registry, os.environ[MULTIPROCESS])
print(generate_latest(registry).decode())
"""


def test_the_processes_of_a_host_count_together(tmp_path: Path) -> None:
    """Also those that are gone: a count never falls because a process was restarted."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "counts")}

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    run(COUNT_AND_LEAVE)
    run(COUNT_AND_LEAVE)
    assert 'billing_webhook_events_total{outcome="refused",type="other"} 2.0' in run(SHOW)


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def _age(by: timedelta) -> None:
    _set(received_at=StripeEvent.received_at - by)


def _set(**values: object) -> None:
    with unit_of_work() as session:
        session.execute(update(StripeEvent).values(values), execution_options={"synchronize_session": False})
