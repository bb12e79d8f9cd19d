"""One client of the chaos: it asks, writes down what it asks for, and then what it was answered.

What it was asking for when it was killed stands in its log without an answer: nobody knows what came of it.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from psycopg.errors import LockNotAvailable, QueryCanceled
from sqlalchemy.exc import OperationalError

from portal.core import clock
from portal.core.unit_of_work import run_in_unit
from portal.credits import holds, ledger
from portal.credits.errors import CauseConflict, HoldClosed, InsufficientCredits, UnknownGrant
from portal.usage.metering import record_all
from portal.usage.uses import Answer, KeyReused, Recorded, Use
from tests.chaos.operations import REQUESTS_EACH, Plan, Request, request

RECENT = 200
# Of a hundred requests: so many repeat one of the client's own, one of another client's, ask otherwise under a known key
# (which must be refused), and close a hold. The rest is new.
AGAIN, OF_OTHERS, OTHERWISE, CLOSING = 25, 10, 2, 12

Outcome = tuple[str, Any]


class Client:
    """`number` is that of its next request."""

    def __init__(self, plan: Plan, me: int, life: int, folder: Path) -> None:
        self.plan, self.me = plan, me
        self.chance = random.Random(f"{plan.seed}:{me}:{life}")
        self.done = sum(_operations_in(folder / f"{me}.{before}.log") for before in range(life))
        # Numbers of its own for each life, which go on from about where the last one ended.
        self.number = life * plan.operations + int(self.done * REQUESTS_EACH)
        self.log = (folder / f"{me}.{life}.log").open("w", buffering=1)
        self.asked = 0
        self.recent: deque[Request] = deque(maxlen=RECENT)
        self.granted: deque[Request] = deque(maxlen=RECENT)
        self.held: deque[tuple[str, str, int]] = deque(maxlen=RECENT)

    def run(self, app: Flask) -> None:
        with self.log, app.app_context():
            while self.done < self.plan.share:
                for asked in self._next():
                    self._send(asked)

    def _next(self) -> list[Request]:
        luck = self.chance.randrange(100)
        if luck < AGAIN and self.recent:
            return [self.chance.choice(self.recent)]
        if luck < AGAIN + OF_OTHERS:
            return [self._of_another()]
        if luck < AGAIN + OF_OTHERS + OTHERWISE and self.granted:
            known = self.chance.choice(self.granted)
            return [known | {"amount": known["amount"] + 1, "otherwise": True}]
        if luck < AGAIN + OF_OTHERS + OTHERWISE + CLOSING and self.held:
            return [self._closing()]
        self.number += 1
        if self.me == 0:
            self._let_time_pass()
        return [request(self.plan, self.me, self.number)]

    def _of_another(self) -> Request:
        other = self.chance.randrange(self.plan.clients)
        return request(self.plan, other, max(1, self.number % self.plan.operations - self.chance.randrange(RECENT)))

    def _closing(self) -> Request:
        """A hold that this client has been told of, though perhaps not as the only one."""
        team, hold_id, amount = self.chance.choice(self.held)
        self.number += 1
        asked: Request = {"act": "release", "team": team, "key": f"{self.me}-{self.number}", "hold": hold_id}
        if self.chance.random() < 0.7:
            asked |= {"act": "settle", "amount": self.chance.randint(1, amount)}
        return asked

    def _let_time_pass(self) -> None:
        """Mostly on, and at times a little back, as a clock that is set right."""
        minutes = self.plan.hours * 60 / (self.plan.share * REQUESTS_EACH)
        by = -timedelta(minutes=5) if self.chance.random() < 0.05 else timedelta(minutes=minutes)
        run_in_unit(lambda: clock.advance(by))

    def _send(self, asked: Request) -> None:
        self.asked += 1
        operations = len(asked.get("uses", [asked]))
        self._write("asked", operations, asked)
        try:
            outcome, answer = answer_to(asked)
        except OperationalError as error:
            # On a crowded machine the whole statement may last too long before one wait for a lock does.
            if not isinstance(error.orig, LockNotAvailable | QueryCanceled):
                raise
            outcome, answer = "busy", None
        self._write("told", operations, [outcome, answer])
        self.done += operations
        if asked.get("otherwise"):
            return
        self.recent.append(asked)
        if outcome == "done" and asked["act"] in ("spend", "grant"):
            self.granted.append(asked)
        if outcome == "done" and asked["act"] == "hold":
            self.held.append((asked["team"], answer, asked["amount"]))

    def _write(self, what: str, operations: int, content: object) -> None:
        self.log.write(json.dumps([what, self.asked, time.monotonic_ns(), operations, content]) + "\n")


def _operations_in(log: Path) -> int:
    lines = (line for line in log.read_text().splitlines() if line.startswith('["told"') and line.endswith("]"))
    return sum(json.loads(line)[3] for line in lines)


def answer_to(asked: Request) -> Outcome:
    """What the ledger says to it: `done` and an answer, or in a word why not."""
    try:
        return "done", run_in_unit(lambda: PERFORM[asked["act"]](asked))
    except InsufficientCredits:
        return "short", None
    except CauseConflict:
        return "conflict", None
    except HoldClosed as closed:
        return "closed", closed.state
    except UnknownGrant:
        return "unknown", None


def _spend(asked: Request) -> Any:
    spent = ledger.spend(asked["team"], asked["amount"], f"spend:{asked['key']}")
    return [spent.balance, spent.version, spent.entry_id]


def _uses(asked: Request) -> Any:
    uses = [Use(asked["team"], key, meter, quantity) for key, meter, quantity in asked["uses"]]
    return [_told(outcome) for outcome in record_all(asked["team"], uses, _body)]


def _told(outcome: Answer | Exception) -> Outcome:
    if isinstance(outcome, Answer):
        return "done", outcome.body
    if isinstance(outcome, InsufficientCredits):
        return "short", None
    if isinstance(outcome, KeyReused):
        return "conflict", None
    raise outcome


def _body(recorded: Recorded) -> str:
    return json.dumps([recorded.id, recorded.cost, recorded.balance])


def _grant(asked: Request) -> Any:
    times = {name: datetime.fromisoformat(text) for name in ("begins", "ends") if (text := asked[name])}
    return ledger.grant(
        asked["team"],
        kind=asked["kind"],
        amount=asked["amount"],
        cause_key=f"lot:{asked['key']}",
        source="",
        effective_at=times.get("begins"),
        expires_at=times.get("ends"),
    )


def _reverse(asked: Request) -> Any:
    return ledger.reverse(asked["team"], f"lot:{asked['grant']}", asked["amount"], f"refund:{asked['key']}")


def _end_early(asked: Request) -> Any:
    return ledger.end_early(asked["team"], f"lot:{asked['grant']}")


def _hold(asked: Request) -> Any:
    lasts = timedelta(minutes=asked["minutes"])
    return holds.hold(asked["team"], asked["amount"], f"held:{asked['key']}", lasts).id


def _settle(asked: Request) -> Any:
    spent = holds.settle(asked["team"], asked["hold"], asked["amount"], f"settled:{asked['key']}")
    return [spent.balance, spent.version, spent.entry_id]


def _release(asked: Request) -> Any:
    return holds.release(asked["team"], asked["hold"]).state


PERFORM: dict[str, Callable[[Request], Any]] = {
    "spend": _spend,
    "use": _uses,
    "batch": _uses,
    "grant": _grant,
    "reverse": _reverse,
    "end_early": _end_early,
    "post_due": lambda asked: ledger.post_due(asked["team"]),
    "hold": _hold,
    "settle": _settle,
    "release": _release,
}
