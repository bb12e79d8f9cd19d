"""What a page costs with a long history behind it: of a team with a thousand uses, and of one with a million.

Both are made by the code that records uses in production; then the times of their entries are spread over the last three
months, since a team does not use a million credits in a minute. The two take turns, page by page.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flask import Flask

from portal import create_app
from portal.accounts.models import User
from portal.core import clock
from portal.core.unit_of_work import run_in_unit
from portal.credits import ledger
from portal.credits.lot_days import count_lot_days
from portal.settings import load_settings
from portal.usage.jobs import make_usage_months
from portal.usage.metering import Use, record_all
from tests.bench.load import run
from tests.bench.stand import DATABASE, HOST, Stand
from tests.cast import make_team_of, make_user, session_cookie

SHORT, LONG = 1_000, 1_000_000
BATCH = 1_000
PAGES = {
    "the overview": "/teams/{team}/billing",
    "usage, this period": "/teams/{team}/usage",
    "usage, 30 days": "/teams/{team}/usage?period=30",
    "usage of one feature, with its uses": "/teams/{team}/usage?period=30&meter=send_email",
    "credits": "/teams/{team}/credits",
    "the balance explained": "/teams/{team}/credits/explain/balance",
}
REQUESTS, ROUNDS, CONNECTIONS = 30, 5, 2
RATIO_MAX = 1.3
METERS = ("send_email", "analyze_lead", "generate_campaign")
SPREAD = timedelta(days=90)


@dataclass(frozen=True)
class Owner:
    team_id: str
    cookie: str

    def asks(self, path: str) -> Iterator[bytes]:
        lines = [f"GET {path.format(team=self.team_id)} HTTP/1.1", f"Host: {HOST}", f"Cookie: {self.cookie}"]
        return itertools.repeat("\r\n".join(lines).encode() + b"\r\n\r\n")


@dataclass(frozen=True)
class Measured:
    """Milliseconds of half of the requests, and the ratio of each round of the long history to the rounds around it."""

    short: float
    long: float
    ratios: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


@dataclass(frozen=True)
class Memory:
    """Of the greatest worker, in MiB: what it has when it has answered nothing but the short pages, and its peak."""

    before: float
    peak: float


def measure(stand: Stand, say: Callable[[str], None]) -> tuple[dict[str, Measured], Memory]:
    app = create_app(load_settings(stand.environment))
    with app.app_context():
        make_usage_months()
        short, long = (_owner(app, stand, uses, say) for uses in (SHORT, LONG))
    with stand.postgres.connect(DATABASE) as connection:
        connection.autocommit = True
        connection.execute("vacuum (analyze)")
    for path in PAGES.values():
        _median(stand, short, path)
    before = _peak(stand)
    found = {}
    for name, path in PAGES.items():
        found[name] = _measure_page(stand, short, long, path)
        say(f"{name:36} {found[name].short:6.1f} ms   {found[name].long:6.1f} ms   {found[name].ratio:.2f}")
    return found, Memory(before, _peak(stand))


def _measure_page(stand: Stand, short: Owner, long: Owner, path: str) -> Measured:
    _median(stand, long, path)  # the first one fills caches, and does not count
    shorts, longs, ratios = [_median(stand, short, path)], [], []
    for _ in range(ROUNDS):
        longs.append(_median(stand, long, path))
        shorts.append(_median(stand, short, path))
        ratios.append(longs[-1] / statistics.mean(shorts[-2:]))
    return Measured(statistics.median(shorts) * 1000, statistics.median(longs) * 1000, ratios)


def _median(stand: Stand, owner: Owner, path: str) -> float:
    asked = owner.asks(path)
    return statistics.median(run(stand.portal, list(itertools.islice(asked, REQUESTS)), CONNECTIONS, asked).latencies)


def _peak(stand: Stand) -> float:
    """MiB of the worker that has had most at once."""
    told = [Path(f"/proc/{pid}/status").read_text() for pid in stand.portal.workers()]
    return max(int(re.findall(r"VmHWM:\s+(\d+) kB", one)[0]) for one in told) / 1024


def _owner(app: Flask, stand: Stand, uses: int, say: Callable[[str], None]) -> Owner:
    """Somebody whose team has used so much, over the last three months."""

    def make() -> tuple[User, str]:
        owner = make_user()
        team = make_team_of(owner)
        given = {"kind": "bundle", "amount": 5 * uses, "cause_key": "bundle:pages", "source": "Bench"}
        ledger.grant(team.id, **given)  # type: ignore[arg-type]
        return owner, team.id

    user, team_id = run_in_unit(make)
    cookie = f"{app.config['SESSION_COOKIE_NAME']}={session_cookie(app, user)}"
    now = run_in_unit(clock.now)
    for first in range(0, uses, BATCH):
        # Uses may be told of up to 35 days late.
        asked = [
            Use(team_id, f"page-{n}", METERS[n % 3], 1, occurred_at=now - timedelta(days=33) * (uses - n) / uses)
            for n in range(first, first + BATCH)
        ]
        run_in_unit(lambda asked=asked: record_all(team_id, asked, lambda done: json.dumps({"id": done.id})))  # type: ignore[misc]
        if first % 100_000 == 0 and first:
            say(f"{first:,} uses are recorded")
    _spread(stand, team_id)
    while run_in_unit(lambda: count_lot_days(team_id)):
        pass
    return Owner(team_id, cookie)


def _spread(stand: Stand, team_id: str) -> None:
    """As the tables' owner, past the triggers that keep history as it is."""
    with stand.postgres.connect(DATABASE) as connection:
        connection.execute("set session_replication_role = replica")
        wanted = {"team": team_id, "days": SPREAD.days}
        connection.execute(
            "update credit_entries e set at = e.at - make_interval(days => %(days)s) * (a.version - e.version) / a.version"
            " from credit_accounts a where a.team_id = e.team_id and e.team_id = %(team)s",
            wanted,
        )
        connection.execute(
            "update credit_grants set effective_at = effective_at - make_interval(days => %(days)s) where team_id = %(team)s",
            wanted,
        )
        connection.execute(
            "update teams set created_at = created_at - make_interval(days => %(days)s) where id = %(team)s", wanted
        )


def rows(found: dict[str, Measured]) -> list[str]:
    """The table of the page docs/performance.md."""
    lines = [
        f"| | p50 with {SHORT:,} uses | p50 with {LONG:,} uses | ratio | lowest to highest round | wanted |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in found.items():
        spread = f"{min(one.ratios):.2f} to {max(one.ratios):.2f}"
        lines.append(
            f"| {name} | {one.short:.1f} ms | {one.long:.1f} ms | **{one.ratio:.2f}** | {spread} | ≤ {RATIO_MAX} |"
        )
    return lines
