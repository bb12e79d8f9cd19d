"""Clients of the ledger as processes of their own: each spends by a list, and notes every answer it was given.

    python -m tests.lifecycle.credits.spender FOLDER CLIENTS

Each line of `0.plan` is `[team, key, amount]`, each line of `0.log` `[key, amount, answer]`, where the answer is the
spend's or null for a refusal; `0.pid` says which process it is. One that is killed is started again and goes on where
its log ends: the request under way then has an unknown outcome and is asked again, as a careful client would.

They are forked from a process that has the application loaded, which takes longer than to spend a thousand times.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from flask import Flask
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


def spend(app: Flask, plan: Path, log: Path) -> None:
    requests = [json.loads(line) for line in plan.read_text().splitlines()]
    done = log.read_bytes().count(b"\n") if log.exists() else 0
    with app.app_context(), log.open("a") as answers:
        if done:
            # What was being written when it was killed may end in the middle of a line.
            whole = log.read_bytes().rfind(b"\n") + 1
            answers.truncate(whole)
        for team_id, key, amount in requests[done:]:
            answers.write(json.dumps([key, amount, ask(team_id, key, amount)]) + "\n")
            answers.flush()


def start(app: Flask, folder: Path, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            spend(app, folder / f"{number}.plan", folder / f"{number}.log")
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(1)
    (folder / f"{number}.pid").write_text(str(pid))
    return pid


def main(folder: Path, clients: int) -> int:
    """Returns 0 once every client has come to the end of its list, and 1 as soon as one fails."""
    app = create_app()
    running = {start(app, folder, number): number for number in range(clients)}
    while running:
        pid, status = os.wait()
        number = running.pop(pid)
        if os.WIFSIGNALED(status):
            running[start(app, folder, number)] = number
        elif status:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
