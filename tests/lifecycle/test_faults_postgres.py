"""PostgreSQL crashing under worker and web: all or nothing, and both go on when it is back.

The server is this file's own, so that it may be killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.cli.stack import process
from portal.cli.stack.postgres import EmbeddedPostgres
from portal.core.database import db
from portal.settings import load_settings
from tests.cast import Cast, gather
from tests.purchases import BUSINESS_CREDITS, nothing_waits, paid_grants, states, violations, waiting
from tests.services import FAST, DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage
from tests.worker_process import ROOT, SECONDS_MAX, Workers, until


@dataclass
class OwnPostgres:
    server: EmbeddedPostgres
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"LC_ALL": "C"}
        running = process.start(
            self.server.command,
            environment=environment,
            folder=Path("/"),
            user=self.server.user,
            if_orphaned=signal.SIGINT,
        )
        self.running = running
        self.server.wait(lambda: running.poll() is None)

    def crash(self) -> None:
        """No checkpoint, no goodbye: every session ends where it stands."""
        self.stop(signal.SIGQUIT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        if self.running:
            process.stop(self.running, number, seconds_max=SECONDS_MAX)


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="turnpike-test-"))
    (folder / "sockets").mkdir()
    server = EmbeddedPostgres(folder / "postgres", folder / "sockets", FAST)
    server.prepare(lambda _note: None)
    made = OwnPostgres(server)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def crash_app(own_postgres: OwnPostgres, stripe_url: str) -> Iterator[Flask]:
    url = own_postgres.server.url("postgres", "postgres")
    environment = app_environment(DatabaseUrls(url, url), "none") | {
        "STRIPE_API_BASE": stripe_url,
        "HOSTED_PAGE_ORIGINS": stripe_url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    app = create_app(load_settings(environment))
    app.config["WTF_CSRF_ENABLED"] = False
    with app.app_context():
        sync_catalog(gateway(), catalog())
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def crash_cast(crash_app: Flask) -> Cast:
    return gather(crash_app)


def test_a_crash_in_the_applying_unit_leaves_nothing_of_it_and_it_is_done_again(
    crash_app: Flask, crash_cast: Cast, own_postgres: OwnPostgres, stripe_url: str, tmp_path: Path
) -> None:
    stage = Stage(crash_app, stripe_url)
    stage.subscribe(crash_cast.owner, crash_cast.team_id, "business")
    events = [
        event for event in stage.new_events() if event["type"] in ("invoice.paid", "customer.subscription.created")
    ]
    for event in events:
        assert stage.deliver(event) == 200
    workers = Workers(crash_app, tmp_path)
    (tmp_path / "hold").touch()
    try:
        worker = workers.start(failpoint=f"webhooks.applied:hang:{tmp_path / 'hold'}", redis_url="none")
        until(lambda: worker.said('"failpoint"'), "the worker has written all its effects")
        db.session.remove()
        own_postgres.crash()
        assert stage.deliver(events[0]) == 503
        page = crash_cast.owner.client.get(f"/teams/{crash_cast.team_id}/billing")
        assert page.status_code == 503
        assert "Request <code>req_" in page.text, "the error page itself asked the database"
        (tmp_path / "hold").unlink()
        until(lambda: worker.said("drain_failed"), "the worker has noticed")
        own_postgres.start()
        assert [state for _, state, _ in waiting()] == ["pending"] * len(events)
        assert paid_grants(crash_cast.team_id) == []
        assert stage.deliver(events[0]) == 200, "the web's connections, all dead, are replaced"
        until(nothing_waits, "the same worker goes on")
        assert worker.terminate() == 0
    finally:
        workers.kill_all()
    assert states() == {"done"}
    assert paid_grants(crash_cast.team_id) == [BUSINESS_CREDITS]
    assert violations() == []
