"""What a batch of uses costs: of one hot team and of a thousand teams in turn, against inserting the same rows by psycopg.

What is measured is the recording itself (`usage.metering.record_all` in a unit of work), in one process. The yardstick inserts
as many rows into the same four tables, copied with their indexes and without their references and triggers: keys, events,
entries and consumptions, by psycopg's `executemany`, and commits. It decides nothing, locks nothing and keeps no totals. Beside it
stands the same with one statement a table, which is the fastest way there is short of COPY; that is shown and not held to.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from portal import create_app
from portal.core.ids import new_id
from portal.core.unit_of_work import run_in_unit
from portal.credits import ledger
from portal.settings import load_settings
from portal.usage.metering import Answer, Recorded, Use, record_all
from tests.bench.load import Round
from tests.bench.stand import CREDITS, DATABASE, Stand
from tests.bench.table import Result
from tests.cast import make_team_of, make_user

USES = 1_000
BATCHES = 10
ROUNDS = 7
SPREAD_TEAMS = 1_000
TARGETS = {"batch_hot": 0.3, "batch_spread": 0.3, "hot_of_spread": 0.8}

COPIES = ("usage_keys", "usage_events", "credit_entries", "credit_consumptions")
AT_ONCE = "insert into bare_{table} select * from json_populate_recordset(null::bare_{table}, %s)"

Rows = dict[str, list[dict[str, object]]]

Batch = TypeVar("Batch")
_numbers = itertools.count(1)


@dataclass
class Bare:
    """The yardstick: rows as the recording of a batch writes them, each batch with keys and numbers of its own."""

    connection: psycopg.Connection

    def prepare(self) -> None:
        for table in COPIES:
            self.connection.execute(f"create table bare_{table} (like {table} including defaults including indexes)")
        self.connection.commit()

    def insert(self, rows: Rows) -> None:
        with self.connection.cursor() as cursor:
            for table, values in rows.items():
                names = list(values[0])
                places = ", ".join(f"%({name})s" for name in names)
                statement = f"insert into bare_{table} ({', '.join(names)}) values ({places})"  # noqa: S608  ours
                cursor.executemany(statement, values)
        self.connection.commit()

    def insert_at_once(self, rows: Rows) -> None:
        for table, values in rows.items():
            statement = AT_ONCE.format(table=table)
            self.connection.execute(statement, [json.dumps(values)])
        self.connection.commit()


def rows_of_a_batch(team_id: str) -> Rows:
    now = datetime.now(UTC).isoformat()
    rows: Rows = {table: [] for table in COPIES}
    for number in itertools.islice(_numbers, USES):
        key, use = f"bench-{number}", new_id("use")
        body = json.dumps({"object": "usage", "id": use, "quantity": 1, "cost": 1, "balance": number, "created": now})
        common: dict[str, object] = {"team_id": team_id, "key": key}
        rows["usage_keys"].append(common | {"request_hash": "0" * 64, "status": 200, "body": body, "created_at": now})
        event = {"id": use, "meter": "send_email", "quantity": 1, "cost": 1, "entry_id": number}
        rows["usage_events"].append(common | event | {"occurred_at": now, "recorded_at": now})
        entry = {"id": number, "version": number, "kind": "spent", "amount": -1, "balance_after": number, "at": now}
        rows["credit_entries"].append(
            {"team_id": team_id, "cause_key": f"usage:{key}", "spend_order": "expiry"} | entry
        )
        taken: dict[str, object] = {"entry_id": number, "grant_id": 1, "amount": 1}
        rows["credit_consumptions"].append({"team_id": team_id} | taken)
    return rows


def measure(stand: Stand, say: Callable[[str], None]) -> dict[str, Result]:
    """They take turns: every round of ours stands between two bare ones."""
    app = create_app(load_settings(stand.environment))
    with app.app_context(), stand.postgres.connect(DATABASE) as connection:
        connection.autocommit = False
        hot, spread = itertools.repeat(_teams(1)[0]), itertools.cycle(_teams(SPREAD_TEAMS))
        bare = Bare(connection)
        bare.prepare()
        contestants = {
            "batch_hot": lambda: _ours(hot),
            "batch_spread": lambda: _ours(spread),
            "bulk_rows": lambda: _timed(bare.insert_at_once, _rows(next(hot))),
        }
        results = {name: Result() for name in ("bare_rows", *contestants)}
        for run in contestants.values():
            run()  # the first round fills caches and pools, and does not count
        before = _timed(bare.insert, _rows(next(hot)))
        for name, run in [*contestants.items()] * ROUNDS:
            found, after = run(), _timed(bare.insert, _rows(next(hot)))
            ratio = found.per_second / statistics.mean((before.per_second, after.per_second))
            say(f"{name:12} {found.per_second:8,.0f} uses/s   {ratio:.2f} of the bare rows")
            results[name].add(found, ratio)
            results["bare_rows"].add(after)
            before = after
    return results


def hot_of_spread(results: dict[str, Result]) -> float:
    """What one team's batches come to beside those of a thousand, each round with its neighbour."""
    pairs = zip(results["batch_hot"].rounds, results["batch_spread"].rounds, strict=True)
    return statistics.median(hot.per_second / spread.per_second for hot, spread in pairs)


def _teams(count: int) -> list[str]:
    def make() -> str:
        owner = make_user()
        team = make_team_of(owner)
        ledger.grant(team.id, kind="bundle", amount=CREDITS, cause_key="bundle:bench", source="Bench")
        return team.id

    return [run_in_unit(make) for _ in range(count)]


def _ours(teams: Iterator[str]) -> Round:
    batches = []
    for team_id in itertools.islice(teams, BATCHES):
        keys = itertools.islice(_numbers, USES)
        batches.append([Use(team_id, f"bench-{number}", "send_email", 1) for number in keys])
    return _timed(_record, batches)


def _record(uses: list[Use]) -> None:
    outcomes = run_in_unit(lambda: record_all(uses[0].team_id, uses, _body))
    assert all(isinstance(outcome, Answer) and not outcome.replayed for outcome in outcomes)


def _body(recorded: Recorded) -> str:
    told = {"object": "usage", "id": recorded.id, "quantity": recorded.use.quantity, "cost": recorded.cost}
    return json.dumps(told | {"balance": recorded.balance, "created": recorded.at.isoformat()})


def _rows(team_id: str) -> list[Rows]:
    return [rows_of_a_batch(team_id) for _ in range(BATCHES)]


def _timed(work: Callable[[Batch], None], batches: list[Batch]) -> Round:
    """Seconds and latencies are of uses; each counts as long as its batch took."""
    begin, latencies = time.perf_counter(), []
    for batch in batches:
        before = time.perf_counter()
        work(batch)
        latencies += [time.perf_counter() - before] * USES
    return Round(time.perf_counter() - begin, latencies, [len(latencies)])
