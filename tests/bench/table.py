"""The table of docs/performance.md, between its two marks, and what the machine of the run was like."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from portal.cli.stack.postgres import EmbeddedPostgres
from tests.bench.load import Round

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
WORDS = {
    "bare": "a bare Flask insert of the same body",
    "webhook": "`POST /webhooks/stripe`",
    "usage": "`POST /api/v1/usage`",
    "bare_read": "a bare Flask route that answers with as many bytes",
    "bare_many": "a bare Flask insert, over 32 connections",
    "usage_hot": "`POST /api/v1/usage` of one team, over 32 connections",
    "bare_rows": "the rows of batches inserted by psycopg's `executemany`",
    "batch_hot": "batches of 1,000 uses of one team",
    "batch_spread": "the same of a thousand teams in turn",
    "hot_of_spread": "batches of one team beside those of a thousand teams",
    "bulk_rows": "the rows inserted by one statement a table",
    "read": "`GET /v1/customers/…` of the stand-in",
}
FLUSHES = 200


@dataclass
class Result:
    rounds: list[Round] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def add(self, found: Round, ratio: float = 1.0) -> None:
        self.rounds.append(found)
        self.ratios.append(ratio)

    @property
    def per_second(self) -> float:
        return statistics.median(one.per_second for one in self.rounds)

    def milliseconds(self, part: float) -> float:
        """The median over the rounds of the latency that `part` of the requests stayed under."""
        return statistics.median(_quantile(one.latencies, part) for one in self.rounds) * 1000

    @property
    def split(self) -> str:
        """How the requests fell on the worker processes, in percent."""
        by_process = [sum(parts) for parts in zip(*(one.split for one in self.rounds), strict=True)]
        return " : ".join(f"{100 * part / sum(by_process):.0f}" for part in by_process)


def distribution(what: str, seconds: list[float]) -> list[str]:
    """A table of how long something took, each time that it was measured."""
    parts = " | ".join(f"{_quantile(seconds, part) * 1000:,.0f} ms" for part in (0.5, 0.95, 0.99, 1.0))
    return [
        "| | events | p50 | p95 | p99 | max |",
        "|---|---:|---:|---:|---:|---:|",
        f"| {what} | {len(seconds):,} | {parts} |",
    ]


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def machine(postgres: EmbeddedPostgres) -> list[str]:
    """What the figures depend on, without names and places."""
    with postgres.connect() as connection:
        shown = connection.execute("show server_version").fetchone()
        server = shown[0] if shown else "?"
    parts = ("gunicorn", "Flask", "SQLAlchemy", "psycopg", "redis", "rq")
    memory = psutil.virtual_memory().total / 2**30
    flush = _flush_milliseconds(postgres.data.parent)
    system = f"{platform.system()} {platform.machine()}"
    durable = "`fsync` and `synchronous_commit` on"
    return [
        f"{os.cpu_count()} cores, {memory:.0f} GB, {system}, load {os.getloadavg()[1]:.1f} over the last five minutes",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in parts),
        f"PostgreSQL {server} on a Unix socket, {durable}; writing 8 kB and flushing it takes {flush:.2f} ms here",
    ]


def _flush_milliseconds(folder: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FLUSHES):
            before = time.perf_counter()
            file.seek(0)
            file.write(b"x" * 8192)
            file.flush()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - before)
    return statistics.median(took) * 1000


@dataclass(frozen=True)
class Target:
    """A ratio that a run came to, and what it is held to: at least `wanted`, or at most that."""

    name: str
    ratio: float
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.ratio <= self.wanted if self.at_most else self.ratio >= self.wanted

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{WORDS.get(self.name, self.name)} ({self.ratio:.2f}, wanted {sign} {self.wanted})"


def verdict(targets: Iterable[Target]) -> str:
    """A line that names every target that was missed."""
    missed = "; ".join(str(target) for target in targets if not target.met)
    return f"Missed: {missed}." if missed else "Every target was met."


def write(verdict: str, tables: Iterable[list[str]], about: list[str], how: str) -> None:
    """Put what the run came to and its tables in their place in the page."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert tail, f"{PAGE.name} has lost its marks"
    lines = [line for rows in tables for line in (*rows, "")]
    made = "\n".join([*lines, *(f"- {line}" for line in [_when(how), *about])])
    PAGE.write_text(f"{head}{BEGIN}\n\n{verdict}\n\n{made}\n\n{END}{tail}")


def rows(
    results: Mapping[str, Result], targets: Mapping[str, float], measure: str, what: str = "requests"
) -> list[str]:
    """A table of what was measured, the yardstick first. `measure` says what the ratios are of."""
    lines = [
        f"| | {what} a second | p50 | p99 | {measure} | lowest to highest round | wanted | by process |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for number, (name, found) in enumerate(results.items()):
        target = targets.get(name)
        ratio = f"**{statistics.median(found.ratios):.2f}**" if number else "1"
        spread = f"{min(found.ratios):.2f} to {max(found.ratios):.2f}" if number else ""
        lines.append(
            f"| {WORDS[name]} | {found.per_second:,.0f} | {found.milliseconds(0.5):.1f} ms "
            f"| {found.milliseconds(0.99):.1f} ms | {ratio} | {spread} | {f'≥ {target}' if target else ''} "
            f"| {found.split} |"
        )
    return lines


def _when(how: str) -> str:
    return f"{datetime.now(UTC):%d %b %Y}, {how}"
