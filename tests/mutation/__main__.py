"""`make mutants ONLY=…`: plants each bug of `mutants.py` in a copy of the tree and runs the tests that have to catch it.

The same tests must pass without any bug, in the same copy. It writes the table of `README.md` when all were run, and
fails when a bug lives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tests.mutation.mutants import MUTANTS, Mutant
from tests.services import Plan, Services

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- make mutants: begin -->", "<!-- make mutants: end -->"

NEVER_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "instance", "node_modules", "__pycache__", ".*_cache", ".hypothesis"
)
PASSED, FAILED = 0, 1
# An endless loop is a bug that is caught too.
SECONDS_MAX = 900
# Not `ERROR`: a database that cannot even be made catches nothing.
_FAILURE = re.compile(r"^FAILED (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """Which test caught the mutant, or why none did."""

    mutant: Mutant
    caught_by: str | None
    output: str = ""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a command speaks to a terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", default="", help="mutants with this in their name")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="how many at a time")
    given = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if given.only in mutant.name]
    if not mutants:
        parser.error(f"no mutant has {given.only!r} in its name")
    with servers() as environment, copies(given.at_once) as trees:
        sound(trees, environment, sorted({test for mutant in mutants for test in mutant.caught_by}))
        with ThreadPoolExecutor(given.at_once) as pool:
            verdicts = list(pool.map(lambda mutant: judge(mutant, trees, environment), mutants))
    alive = [verdict for verdict in verdicts if verdict.caught_by is None]
    for verdict in alive:
        say(f"\nALIVE: {verdict.mutant.name} ({verdict.mutant.bug})\n{verdict.output[-2000:]}")
    if len(mutants) == len(MUTANTS) and not alive:
        write(verdicts)
    say(f"{len(mutants) - len(alive)} of {len(mutants)} planted bugs were caught")
    return 1 if alive else 0


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """One PostgreSQL and one Redis for all runs; each makes a database of its own there, and drops it again."""
    running = Services(os.environ)
    try:
        plan = running.start()
        os.environ.pop(Plan.VARIABLE)
        yield {**os.environ, "DATABASE_URL": plan.admin, "REDIS_URL": plan.redis}
    finally:
        running.stop()


@contextmanager
def copies(count: int) -> Iterator[Queue[Path]]:
    """So many copies of the tree, to be taken from the queue and put back as they were."""
    trees: Queue[Path] = Queue(count)
    with tempfile.TemporaryDirectory(prefix="turnpike-mutants-") as folder:
        for number in range(count):
            tree = Path(folder) / str(number)
            shutil.copytree(ROOT, tree, ignore=NEVER_COPIED)
            trees.put(tree)
        yield trees


def sound(trees: Queue[Path], environment: dict[str, str], tests: Sequence[str]) -> None:
    """Without a bug the tests pass: else what they find would prove nothing."""
    tree = trees.get()
    code, output = run(tree, environment, tests, workers=trees.maxsize)
    trees.put(tree)
    if code != PASSED:
        raise SystemExit(f"the tests do not pass without any planted bug:\n{output[-4000:]}")
    say(f"{len(tests)} files of tests pass without a planted bug")


def judge(mutant: Mutant, trees: Queue[Path], environment: dict[str, str]) -> Verdict:
    tree = trees.get()
    path = tree / mutant.file
    original = path.read_text()
    try:
        path.write_text(planted(mutant, original))
        code, output = run(tree, environment, mutant.caught_by)
    finally:
        path.write_text(original)
        trees.put(tree)
    found = _FAILURE.search(output)
    caught_by = found[1] if code == FAILED and found else None
    say(f"{mutant.name}: {caught_by or f'ALIVE (pytest said {code})'}")
    return Verdict(mutant, caught_by, output)


def planted(mutant: Mutant, text: str) -> str:
    """The file with the bug in it. Raises `ValueError` when the code has moved on."""
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: what it changes stands {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def run(tree: Path, environment: dict[str, str], tests: Sequence[str], workers: int = 0) -> tuple[int, str]:
    options = ("-x", "-q", f"-n{workers}", "-p", "no:cacheprovider", "--show-capture=no")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"FAILED {tests[0]} (it did not end)"
    return done.returncode, done.stdout + done.stderr


def write(verdicts: Sequence[Verdict]) -> None:
    """The table of the page: what was planted, where, and which test caught it."""
    rows = ["| planted bug | in | caught by |", "|---|---|---|"]
    for verdict in verdicts:
        where, _, test = str(verdict.caught_by).partition("::")
        caught = f"`{test.split('[')[0]}` in `{where}`" if test else f"`{where}`"
        rows.append(f"| {verdict.mutant.bug} (`{verdict.mutant.name}`) | `{verdict.mutant.file}` | {caught} |")
    head, rest = PAGE.read_text().split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n\n" + "\n".join(rows) + f"\n\n{END}{tail}")


if __name__ == "__main__":
    sys.exit(main())
