"""A client of the ledger as a process of its own: it spends by a list, and notes every answer it was given.

    python -m tests.lifecycle.credits.spender PLAN LOG

Each line of the plan is `[team, key, amount]`, each line of the log `[key, amount, answer]`, where the answer is the
spend's or null for a refusal. Started again on the same log it goes on where that ends: the request under way when it
was killed has an unknown outcome and is asked again, as a careful client would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from portal import create_app
from portal.core.unit_of_work import run_in_unit
from portal.credits import ledger

ATTEMPTS_MAX = 50


def ask(team_id: str, key: str, amount: int) -> dict[str, Any] | None:
    """The answer of the ledger; a lock that took too long changed nothing and is asked for again."""
    for _ in range(ATTEMPTS_MAX):
        try:
            spent = run_in_unit(lambda: ledger.spend(team_id, amount, key))
            return {"balance": spent.balance, "version": spent.version, "entry_id": spent.entry_id}
        except ledger.InsufficientCredits:
            return None
        except OperationalError as error:
            sys.stderr.write(f"{error}\n")
    raise SystemExit("the ledger could not be reached")


def main(plan: Path, log: Path) -> None:
    requests = [json.loads(line) for line in plan.read_text().splitlines()]
    done = log.read_bytes().count(b"\n") if log.exists() else 0
    app = create_app()
    with app.app_context(), log.open("a") as answers:
        if done:
            # What was being written when it was killed may end in the middle of a line.
            whole = log.read_bytes().rfind(b"\n") + 1
            answers.truncate(whole)
        for team_id, key, amount in requests[done:]:
            answers.write(json.dumps([key, amount, ask(team_id, key, amount)]) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
