"""A portal and a stand-in in this process, on servers of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.settings import load_settings
from tests import services
from tests.conftest import FreshContextClient
from tests.own_servers import OwnRedis, migrate, postgres_of_our_own, redis_of_our_own
from tests.services import DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox


@dataclass(frozen=True)
class Standing:
    """A portal and a stand-in, the servers under them, and the address of a role that may end connections."""

    stage: Stage
    redis: OwnRedis
    admin: str
    folder: Path


@contextmanager
def standing() -> Iterator[Standing]:
    """Everything that is needed, running."""
    with (
        tempfile.TemporaryDirectory(prefix="turnpike-chaos-") as folder,
        postgres_of_our_own() as postgres,
        redis_of_our_own(Path(folder) / "redis") as redis,
        serve_sandbox() as stripe_url,
    ):
        environment = app_environment(DatabaseUrls(postgres.url, postgres.url), redis.url) | {
            "STRIPE_API_BASE": stripe_url,
            "HOSTED_PAGE_ORIGINS": stripe_url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "API_REQUESTS_PER_MINUTE": "1000000",
            "LOG_LEVEL": "ERROR",
        }
        migrate(environment)
        app = create_app(load_settings(environment))
        app.config["WTF_CSRF_ENABLED"] = False
        app.test_client_class = FreshContextClient
        with app.app_context():
            sync_catalog(gateway(), catalog())
            try:
                yield Standing(Stage(app, stripe_url), redis, postgres.url, Path(folder))
            finally:
                services.close_connections()
