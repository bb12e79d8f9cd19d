"""`make bench`: what taking an event and reporting a use cost, measured against one bare INSERT in the same run, and how long
it takes from an event to the changed right.

The contestants take turns, so that whatever else the machine does befalls all of them, and each round is compared with the
bare rounds before and after it. The median of these ratios is what counts: it is held to the targets, and the table in
docs/performance.md is written anew.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench import batches, pages, propagation, requests, table
from tests.bench.load import Round, run
from tests.bench.stand import Server, Stand, standing
from tests.bench.stand_in import StandIn, stand_in
from tests.chaos.history import History
from tests.chaos.standing import standing as chaos_standing

ROUNDS = 7
CONNECTIONS = 8
TEAMS = 8
MANY_CONNECTIONS = 32
REQUESTS = {
    "bare": 2_000,
    "webhook": 2_000,
    "usage": 1_000,
    "bare_many": 2_000,
    "usage_hot": 1_500,
    "bare_read": 3_000,
    "read": 1_000,
}
CUSTOMERS = 200
TARGETS = {"webhook": 0.7, "usage": 0.25, "usage_hot": 0.5}


@dataclass(frozen=True)
class Contestant:
    name: str
    server: Server
    requests: Iterator[bytes]
    connections: int = CONNECTIONS

    def run(self) -> Round:
        made = list(itertools.islice(self.requests, REQUESTS[self.name]))
        found = run(self.server, made, self.connections, self.requests)
        say(f"{self.name:8} {found.per_second:7.0f}/s   by process: {found.split}")
        return found


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command speaks to a terminal


def main() -> int:
    with standing(TEAMS) as stand:
        took = propagation.measure(stand)  # first, since its worker would apply what the others leave in the inbox
        results = measure_portal(stand)
        hot_results = measure_hot_team(stand)
        batch_results = batches.measure(stand, say)
        page_results, memory = pages.measure(stand, say)
        about = table.machine(stand.postgres)
    with stand_in() as found:
        reads = measure_stand_in(found)
    about.append(history())
    ratios = {
        name: statistics.median(found.ratios) for name, found in {**results, **hot_results, **batch_results}.items()
    }
    ratios["hot_of_spread"] = batches.hot_of_spread(batch_results)
    about.append(f"of the batches of a thousand teams, those of one team come to {ratios['hot_of_spread']:.2f}")
    about.append(
        f"a worker process of the portal has had {memory.peak:.0f} MiB at most, {memory.before:.0f} of them before the first"
        f" page of a team with {pages.LONG:,} uses"
    )
    targets = {**TARGETS, **batches.TARGETS}
    tables = [
        table.rows(results, TARGETS, "of the bare insert"),
        table.rows(hot_results, targets, "of the bare insert"),
        table.rows(batch_results, targets, "of the bare rows", "uses"),
        pages.rows(page_results),
        table.rows(reads, {}, "of the bare route"),
        table.distribution("event to changed right", took),
    ]
    held_to = [table.Target(name, ratios[name], target) for name, target in targets.items()]
    held_to += [table.Target(name, page.ratio, pages.RATIO_MAX, at_most=True) for name, page in page_results.items()]
    verdict = table.verdict(held_to)
    table.write(verdict, tables, about, f"{CONNECTIONS} connections, {ROUNDS} rounds")
    say("\n".join(tables[-1]))
    for target in held_to:
        say(str(target))
    say(verdict)
    return 0 if all(target.met for target in held_to) else 1


def measure_portal(stand: Stand) -> dict[str, table.Result]:
    webhook = Contestant("webhook", stand.portal, requests.webhooks())
    usage = Contestant("usage", stand.portal, requests.uses(stand.api_keys))
    return measure(Contestant("bare", stand.bare, requests.bare()), webhook, usage)


def measure_hot_team(stand: Stand) -> dict[str, table.Result]:
    """One team sends everything, over many connections: its uses gather while one of its transactions is under way."""
    bare = Contestant("bare_many", stand.bare, requests.bare(), MANY_CONNECTIONS)
    return measure(bare, Contestant("usage_hot", stand.portal, requests.uses(stand.api_keys[:1]), MANY_CONNECTIONS))


def measure_stand_in(found: StandIn) -> dict[str, table.Result]:
    read, bare = requests.reads(found.customer_id), requests.reads(found.customer_id)
    return measure(Contestant("bare_read", found.bare, bare), Contestant("read", found.sandbox, read))


def measure(bare: Contestant, *ours: Contestant) -> dict[str, table.Result]:
    """Bare, one, bare, the other, and again: every round of ours stands between two bare ones."""
    for one in (bare, *ours):
        one.run()  # the first round of each fills caches and pools, and does not count
    results = {one.name: table.Result() for one in (bare, *ours)}
    before = bare.run()
    results[bare.name].add(before)
    for one in ours * ROUNDS:
        found, after = one.run(), bare.run()
        results[one.name].add(found, found.per_second / statistics.mean((before.per_second, after.per_second)))
        results[bare.name].add(after, 1.0)
        before = after
    return results


def history() -> str:
    """How long a month of many customers takes to make."""
    with chaos_standing() as ours:
        made = History(ours.stage, CUSTOMERS, seed=1)
        begin = time.perf_counter()
        made.record()
        took = time.perf_counter() - begin
    return f"a month of {CUSTOMERS} customers at the stand-in, {len(made.events):,} events, is made in {took:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
