"""PostgreSQL crashing, restarting and cut off at a commit: all or nothing, and web and worker go on when it is back.

The server is this file's own, so that it may be killed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.core.database import db
from portal.credits.models import CreditGrant
from portal.credits.queries import balance
from portal.settings import load_settings
from portal.usage.models import UsageEvent
from portal.webhooks import apply
from portal.webhooks.models import StripeEvent
from tests import services
from tests.cast import Cast, gather
from tests.commit_proxy import CommitProxy, When, commit_proxy
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


def _portal_on(database_url: str, stripe_url: str) -> Flask:
    environment = _environment(database_url, stripe_url)
    app = create_app(load_settings(environment))
    app.config["WTF_CSRF_ENABLED"] = False
    app.test_client_class = FreshContextClient
    return app


def _environment(database_url: str, stripe_url: str) -> dict[str, str]:
    return app_environment(DatabaseUrls(database_url, database_url), "none") | {
        "STRIPE_API_BASE": stripe_url,
        "HOSTED_PAGE_ORIGINS": stripe_url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "API_REQUESTS_PER_MINUTE": "1000000",
    }


def _on_empty_tables(app: Flask) -> Iterator[Flask]:
    empty_tables(app)
    with app.app_context():
        yield app
        services.close_connections()


@pytest.fixture(scope="module")
def crash_portal(own_postgres: OwnPostgres, stripe_url: str) -> Flask:
    migrate(_environment(own_postgres.url, stripe_url))
    app = _portal_on(own_postgres.url, stripe_url)
    with app.app_context():
        sync_catalog(gateway(), catalog())
        services.close_connections()
    return app


@pytest.fixture
def crash_app(crash_portal: Flask) -> Iterator[Flask]:
    yield from _on_empty_tables(crash_portal)


@pytest.fixture(scope="module")
def proxy(own_postgres: OwnPostgres) -> Iterator[CommitProxy]:
    with commit_proxy(str(own_postgres.server.socket_folder / ".s.PGSQL.5432")) as made:
        yield made


@pytest.fixture(scope="module")
def cut_portal(crash_portal: Flask, proxy: CommitProxy, stripe_url: str) -> Flask:
    """A second app on the database that `crash_portal` has set up, by way of the proxy."""
    return _portal_on(f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/postgres", stripe_url)


@pytest.fixture
def cut_stage(cut_portal: Flask, stripe_url: str) -> Iterator[Stage]:
    for app in _on_empty_tables(cut_portal):
        yield Stage(app, stripe_url)


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
    # Besides what it bought, the free month's credits, when the worker's round for them falls into this story.
    given = select(func.sum(CreditGrant.amount)).where(CreditGrant.team_id == metered)
    left = db.session.execute(given).scalar_one() - db.session.execute(taken).scalar_one()
    assert balance(metered).available == left
    assert [paid_grants(team_id) for team_id in teams] == [[BUSINESS_CREDITS]] * len(teams)
    assert violations() == []


def _buy(stage: Stage, number: int) -> str:
    person, team_id = make_buyer(stage.app, f"Team {number}")
    stage.subscribe(person, team_id, "business")
    return team_id


def _more(count: Callable[[], int], number: int) -> None:
    enough = count() + number
    until(lambda: count() >= enough, f"{number} more")


# Before the server has heard of the commit, or after it has done it and before the client knows.
WHENS: tuple[When, ...] = ("before", "after")


@pytest.mark.parametrize("when", WHENS)
def test_cut_at_the_commit_of_a_use_it_is_taken_once(cut_stage: Stage, proxy: CommitProxy, when: When) -> None:
    person, team_id = make_buyer(cut_stage.app, "Metered")
    backend = backend_of(cut_stage.app, team_id, person)
    backend.give(1_000)
    assert backend.use(key="before").status_code == 200
    proxy.cut(when, "into usage_events")
    assert backend.use(key="cut", quantity=3).status_code == 503
    assert len(proxy.cuts) == 1
    assert backend.credits()["available"] == {"before": 999, "after": 996}[when]

    again = backend.use(key="cut", quantity=3)
    assert again.status_code == 200
    assert ("Idempotent-Replayed" in again.headers) == (when == "after")
    assert again.get_json()["balance"] == backend.credits()["available"] == 996
    assert sorted(db.session.execute(select(UsageEvent.key)).scalars()) == ["before", "cut"]
    assert violations() == []


@pytest.mark.parametrize("when", WHENS)
def test_cut_at_the_keeping_of_an_event_it_is_kept_once(cut_stage: Stage, proxy: CommitProxy, when: When) -> None:
    """It is one statement that is a transaction of its own, so that there is no COMMIT to cut at."""
    team_id = _buy(cut_stage, 1)
    paid = next(event for event in cut_stage.new_events() if event["type"] == "invoice.paid")
    proxy.cut(when, "into stripe_events")
    assert cut_stage.deliver(paid) == 503
    assert [len(statements) for statements in proxy.cuts] == [1]
    assert len(waiting()) == {"before": 0, "after": 1}[when]
    db.session.rollback()

    assert cut_stage.deliver(paid) == 200
    assert len(waiting()) == 1
    cut_stage.drain()
    assert states() == {"done"}
    assert paid_grants(team_id) == [BUSINESS_CREDITS]
    assert violations() == []


@pytest.mark.parametrize("when", WHENS)
def test_cut_at_the_commit_of_an_applied_event_it_is_applied_once(
    cut_stage: Stage, proxy: CommitProxy, when: When
) -> None:
    team_id = _buy(cut_stage, 1)
    paid = next(event for event in cut_stage.new_events() if event["type"] == "invoice.paid")
    assert cut_stage.deliver(paid) == 200
    proxy.cut(when, "into paid_periods")
    assert apply.drain() == 1
    ((*_, last),) = proxy.cuts
    assert last == "COMMIT"
    assert [state for _, state, _ in waiting()] == {"before": ["pending"], "after": []}[when]
    assert paid_grants(team_id) == {"before": [], "after": [BUSINESS_CREDITS]}[when]

    db.session.execute(text("update stripe_events set run_at = app_now() where state = 'pending'"))
    db.session.commit()
    cut_stage.drain()
    assert states() == {"done"}
    assert paid_grants(team_id) == [BUSINESS_CREDITS]
    assert violations() == []
