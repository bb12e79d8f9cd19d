"""PostgreSQL crashing under worker and web: all or nothing, and both go on when it is back.

The server is this file's own, so that it may be killed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.core.database import db
from portal.credits.queries import balance
from portal.settings import load_settings
from portal.usage.models import UsageEvent
from portal.webhooks.models import StripeEvent
from tests.cast import Cast, gather
from tests.conftest import FreshContextClient, empty_tables
from tests.own_servers import OwnPostgres, migrate, postgres_of_our_own
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, states, violations, waiting
from tests.services import DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage
from tests.web.api.backend import backend_of
from tests.worker_process import Workers, until
from tests.writers import Writers


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
    app.test_client_class = FreshContextClient
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


def test_restarted_under_a_batch_of_writers_what_was_acknowledged_is_there_once(
    crash_app: Flask, own_postgres: OwnPostgres, stripe_url: str, tmp_path: Path
) -> None:
    """Stopped fast, as for an upgrade, and at once, as by a crash. Clients send again what had no answer or a 503."""
    stage = Stage(crash_app, stripe_url)
    teams = [_buy(stage, number) for number in range(3)]
    person, metered = make_buyer(crash_app, "Metered")
    backend = backend_of(crash_app, metered, person)
    backend.give(1_000_000)
    writers = Writers(stage, backend, stage.new_events())
    workers = Workers(crash_app, tmp_path)
    try:
        worker = workers.start(redis_url="none").started()
        db.session.remove()
        with writers.writing():
            for how in (signal.SIGINT, signal.SIGQUIT):
                _more(writers.acknowledged, 20)
                own_postgres.stop(how)
                _more(writers.refused, 4)
                own_postgres.start()
                _more(writers.acknowledged, 20)
        until(nothing_waits, "all is applied")
        assert worker.terminate() == 0
    finally:
        workers.kill_all()

    assert set(writers.statuses) == {200, 503}
    kept = list(db.session.execute(select(StripeEvent.event_id)).scalars())
    assert sorted(kept) == sorted(writers.kept)
    assert states() == {"done", "ignored"}
    uses = {row.key: row.id for row in db.session.execute(select(UsageEvent.key, UsageEvent.id)).all()}
    assert {key: {uses[key]} for key in writers.uses} == {key: set(ids) for key, ids in writers.uses.items()}
    assert len(uses) == len(writers.uses)
    taken = select(func.sum(UsageEvent.cost)).where(UsageEvent.team_id == metered)
    assert balance(metered).available == 1_000_000 - db.session.execute(taken).scalar_one()
    assert [paid_grants(team_id) for team_id in teams] == [[BUSINESS_CREDITS]] * len(teams)
    assert violations() == []


def _buy(stage: Stage, number: int) -> str:
    person, team_id = make_buyer(stage.app, f"Team {number}")
    stage.subscribe(person, team_id, "business")
    return team_id


def _more(count: Callable[[], int], number: int) -> None:
    enough = count() + number
    until(lambda: count() >= enough, f"{number} more")
