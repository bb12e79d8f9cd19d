"""`make chaos SEED=… ROUNDS=… CUSTOMERS=… SEEDS=…`: the loop of `tests/chaos/loop.py`, then a month of many customers told
badly for many seeds (`tests/chaos/history.py`), each on servers of its own; fails when it finds anything.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.gateway import gateway
from portal.catalog.current import catalog
from portal.core.database import db
from portal.settings import load_settings
from tests import services
from tests.chaos.final_tables import differences, final_tables
from tests.chaos.history import History
from tests.chaos.loop import Chaos
from tests.conftest import FreshContextClient
from tests.own_servers import OwnRedis, migrate, postgres_of_our_own, redis_of_our_own
from tests.purchases import violations
from tests.services import DatabaseUrls, app_environment
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox
from tests.worker_process import Workers

ROUNDS = 40
CUSTOMERS, SEEDS, AT_ONCE = 200, 100, 16


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command speaks to a terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what to choose by")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many steps ({ROUNDS}), 0 for none")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help=f"whose month is told ({CUSTOMERS})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how often it is told, 0 for never ({SEEDS})")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"how many events at a time ({AT_ONCE})")
    given = parser.parse_args()
    say(f"seed {given.seed}, {given.rounds} rounds, {given.customers} customers told of with {given.seeds} seeds")
    again = f"make chaos SEED={given.seed} ROUNDS={given.rounds} CUSTOMERS={given.customers} SEEDS={given.seeds}"
    try:
        if given.rounds:
            run_loop(given.seed, given.rounds)
        if given.seeds:
            tell_history(given.seed, given.customers, given.seeds, given.at_once)
    except AssertionError:
        traceback.print_exc()
        say(f"VIOLATION. The same choices again: {again}")
        return 1
    return 0


def run_loop(seed: int, rounds: int) -> None:
    with standing() as ours:
        workers = Workers(ours.stage.app, ours.folder)
        try:
            Chaos(ours.stage, ours.redis, workers, ours.admin, seed, say).run(rounds)
        finally:
            workers.kill_all()


def tell_history(seed: int, customers: int, seeds: int, at_once: int) -> None:
    """The month is recorded and told in order once; each further seed is another way of telling it badly."""
    with standing() as ours:
        history = History(ours.stage, customers, seed)
        history.record()
        history.tell_in_order()
        expected = final_tables()
        say(f"{len(history.events)} events of {customers} customers")
        for number in range(seed, seed + seeds):
            history.tell_badly(number, at_once)
            found = differences(expected, final_tables())
            assert not found, f"told with seed {number}:\n" + "\n".join(found)
            assert violations() == []
            db.session.rollback()
            say(f"told with seed {number}, {at_once} at a time: the tables are equal")


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


if __name__ == "__main__":
    sys.exit(main())
