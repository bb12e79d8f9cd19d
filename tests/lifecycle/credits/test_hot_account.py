"""One account, eight processes, 20,000 spends of which three in ten are repeated: not one credit too many or too few."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger, queries
from tests.lifecycle.credits.account import new_team, read_rows
from tests.worker_process import ROOT, environment_of, until

CLIENTS = 8
REQUESTS = 20_000
REPEATED = 6_000
# Towards the end everybody asks for single credits, so that the account is drained to the last one.
LAST = 1_000
CREDITS = 20_000
SECONDS_MAX = 900

Request = tuple[str, str, int]


def plans(team_id: str, chance: random.Random) -> list[list[Request]]:
    """What each client asks for. A repeated request may go to any client, at any place of its list."""
    fresh = [(team_id, f"usage:{number}", chance.randint(1, 4)) for number in range(REQUESTS - REPEATED - LAST)]
    requests = fresh + [chance.choice(fresh) for _ in range(REPEATED)]
    chance.shuffle(requests)
    requests += [(team_id, f"usage:last:{number}", 1) for number in range(LAST)]
    assert len(requests) == REQUESTS
    assert sum(amount for _team, _key, amount in fresh) > CREDITS
    return [requests[client::CLIENTS] for client in range(CLIENTS)]


def open_account() -> str:
    """An account with 20,000 credits in lots of every kind."""
    team_id = new_team()
    with unit_of_work():
        now = clock.now()
        for kind, amount, days in (("subscription", 5_000, 20), ("gift", 777, 3), ("bundle", 10_000, None)):
            expires_at = now + timedelta(days=days) if days else None
            ledger.grant(team_id, kind=kind, amount=amount, cause_key=f"lot:{kind}", source="", expires_at=expires_at)
        ledger.grant(team_id, kind="adjustment", amount=4_223, cause_key="lot:rest", source="")
    db.session.remove()
    return team_id


class Clients:
    """The spender processes, their lists and their logs."""

    def __init__(self, folder: Path, lists: list[list[Request]], environment: dict[str, str]) -> None:
        self._folder, self._errors = folder, folder / "errors"
        for number, requests in enumerate(lists):
            (folder / f"{number}.plan").write_text("".join(json.dumps(request) + "\n" for request in requests))
        command = [sys.executable, "-m", "tests.lifecycle.credits.spender", str(folder), str(len(lists))]
        with self._errors.open("wb") as errors:
            self._running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=errors, start_new_session=True)

    def answers(self, number: int) -> list[Any]:
        log = self._folder / f"{number}.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def pid(self, number: int) -> int:
        return int((self._folder / f"{number}.pid").read_text())

    def has_answers(self, number: int, count: int) -> bool:
        assert self._running.poll() is None, self._errors.read_text()
        log = self._folder / f"{number}.log"
        return log.exists() and log.read_bytes().count(b"\n") > count

    def wait(self) -> None:
        assert self._running.wait(SECONDS_MAX) == 0, self._errors.read_text()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()


@pytest.mark.lifecycle
def test_a_hot_account_is_drained_to_exactly_zero(app: Flask, tmp_path: Path) -> None:
    team_id = open_account()
    lists = plans(team_id, random.Random(20_000))
    clients = Clients(tmp_path, lists, environment_of(app, None))
    try:
        until(lambda: clients.has_answers(0, 100), "the first client spends")
        killed = clients.pid(0)
        os.kill(killed, signal.SIGKILL)
        clients.wait()
        assert clients.pid(0) != killed
    finally:
        clients.kill()
    answers = [answer for number in range(CLIENTS) for answer in clients.answers(number)]
    assert len(answers) == REQUESTS
    check(team_id, answers)
    assert queries.balance(team_id).available == 0
    verified = app.test_cli_runner().invoke(args=["ledger", "verify"])
    assert verified.exit_code == 0, verified.output


def check(team_id: str, answers: list[Any]) -> None:
    """Hold the clients' logs against the ledger: what was acknowledged happened once, what was refused never did."""
    rows = read_rows(team_id)
    assert rows is not None
    entries = {entry["key"]: entry for entry in rows.entries if entry["kind"] == "spent"}
    assert len(entries) == sum(entry["kind"] == "spent" for entry in rows.entries)
    by_key: dict[str, list[Any]] = defaultdict(list)
    for key, amount, answer in answers:
        by_key[key].append((amount, answer))
    assert set(entries) <= set(by_key)
    refused = 0
    for key, given in by_key.items():
        acknowledged = [answer for _amount, answer in given if answer is not None]
        assert bool(acknowledged) == (key in entries), key
        refused += not acknowledged
        if acknowledged:
            entry, (amount, _) = entries[key], given[0]
            assert entry["amount"] == -amount
            expected = {"balance": entry["balance"], "version": entry["version"], "entry_id": entry["id"]}
            assert all(answer == expected for answer in acknowledged), key
    assert refused, "the account was never empty"
    assert sum(entry["amount"] for entry in entries.values()) == -CREDITS
