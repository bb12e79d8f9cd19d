"""`make chaos SEED=… OPERATIONS=… TABLES=… ROUNDS=… CUSTOMERS=… SEEDS=…`: many clients at the ledger
(`tests/chaos/operating.py`), what `make test` tries a part of with all of it (`tests/chaos/whole_tables.py`), the loop of
`tests/chaos/loop.py`, then a month of many customers told badly for many seeds (`tests/chaos/history.py`), each on servers
of its own; fails when it finds anything.
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback

from portal.core.database import db
from tests.chaos.final_tables import differences, final_tables
from tests.chaos.history import History
from tests.chaos.loop import Chaos
from tests.chaos.operating import chaos_at_the_ledger
from tests.chaos.standing import standing
from tests.chaos.whole_tables import try_whole_tables
from tests.purchases import violations
from tests.worker_process import Workers

ROUNDS = 40
CUSTOMERS, SEEDS, AT_ONCE = 200, 100, 16
OPERATIONS, CLIENTS = 1_000_000, 16
KILL_EVERY_SECONDS = 5.0


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command speaks to a terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what to choose by")
    parser.add_argument(
        "--operations", type=int, default=OPERATIONS, help=f"how many at the ledger ({OPERATIONS:,}), 0 for none"
    )
    parser.add_argument(
        "--tables", type=int, default=1, help="whether to try every crash point and order (1), or not (0)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many steps ({ROUNDS}), 0 for none")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help=f"whose month is told ({CUSTOMERS})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how often it is told, 0 for never ({SEEDS})")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"how many events at a time ({AT_ONCE})")
    given = parser.parse_args()
    say(
        f"seed {given.seed}, {given.operations:,} operations, {given.rounds} rounds, {given.customers} customers told of"
        f" with {given.seeds} seeds"
    )
    again = (
        f"make chaos SEED={given.seed} OPERATIONS={given.operations} TABLES={given.tables} ROUNDS={given.rounds}"
        f" CUSTOMERS={given.customers} SEEDS={given.seeds}"
    )
    try:
        if given.operations:
            run_operations(given.seed, given.operations)
        if given.tables:
            try_whole_tables()
        if given.rounds:
            run_loop(given.seed, given.rounds)
        if given.seeds:
            tell_history(given.seed, given.customers, given.seeds, given.at_once)
    except AssertionError:
        traceback.print_exc()
        say(f"VIOLATION. The same choices again: {again}")
        return 1
    return 0


def run_operations(seed: int, operations: int) -> None:
    with standing() as ours:
        folder = ours.folder / "clients"
        folder.mkdir()
        chaos_at_the_ledger(ours.stage.app, folder, operations, CLIENTS, seed, KILL_EVERY_SECONDS, say)


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


if __name__ == "__main__":
    sys.exit(main())
