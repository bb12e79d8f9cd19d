"""`make chaos SEED=… ROUNDS=…`: the loop of `tests/chaos/loop.py` on servers of its own; fails when it finds anything."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.settings import load_settings
from tests import services
from tests.chaos.loop import Chaos
from tests.conftest import FreshContextClient
from tests.own_servers import migrate, postgres_of_our_own, redis_of_our_own
from tests.services import DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox
from tests.worker_process import Workers

ROUNDS = 40


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command speaks to a terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what to choose by")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many steps ({ROUNDS})")
    given = parser.parse_args()
    say(f"seed {given.seed}, {given.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="turnpike-chaos-") as folder, standing(Path(folder), given.seed) as chaos:
        try:
            chaos.run(given.rounds)
        except AssertionError:
            traceback.print_exc()
            say(f"VIOLATION. The same choices again: make chaos SEED={given.seed} ROUNDS={given.rounds}")
            return 1
    return 0


@contextmanager
def standing(folder: Path, seed: int) -> Iterator[Chaos]:
    """Everything the loop needs, running."""
    with postgres_of_our_own() as postgres, redis_of_our_own(folder / "redis") as redis, serve_sandbox() as stripe_url:
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
        workers = Workers(app, folder)
        with app.app_context():
            sync_catalog(gateway(), catalog())
            try:
                yield Chaos(Stage(app, stripe_url), redis, workers, postgres.url, seed, say)
            finally:
                workers.kill_all()
                services.close_connections()


if __name__ == "__main__":
    sys.exit(main())
