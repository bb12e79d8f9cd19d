"""PostgreSQL crashing under worker and web: all or nothing, and both go on when it is back.

The server is this file's own, so that it may be killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.core.database import db
from portal.settings import load_settings
from tests.cast import Cast, gather
from tests.conftest import empty_tables
from tests.own_servers import OwnPostgres, migrate, postgres_of_our_own
from tests.purchases import BUSINESS_CREDITS, nothing_waits, paid_grants, states, violations, waiting
from tests.services import DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage
from tests.worker_process import Workers, until


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[OwnPostgres]:
    with postgres_of_our_own() as made:
        yield made


@pytest.fixture(scope="module")
def crash_portal(own_postgres: OwnPostgres, stripe_url: str) -> Flask:
    environment = app_environment(DatabaseUrls(own_postgres.url, own_postgres.url), "none") | {
        "STRIPE_API_BASE": stripe_url,
        "HOSTED_PAGE_ORIGINS": stripe_url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "API_REQUESTS_PER_MINUTE": "1000000",
    }
    migrate(environment)
    app = create_app(load_settings(environment))
    app.config["WTF_CSRF_ENABLED"] = False
    with app.app_context():
        sync_catalog(gateway(), catalog())
    return app


@pytest.fixture
def crash_app(crash_portal: Flask) -> Iterator[Flask]:
    empty_tables(crash_portal)
    with crash_portal.app_context():
        yield crash_portal
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
