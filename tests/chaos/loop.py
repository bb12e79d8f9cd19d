"""Purchases, uses and renewals while somebody breaks things between the steps; in the end the books must be right.

Everything that is chosen is chosen by the seed, so that a loop that failed can be run again. When things happen within
a step is up to the machine.
"""

from __future__ import annotations

import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from portal.billing.models import Customer, Invoice, Payment
from portal.billing.paid_periods import PERIOD_REASONS
from portal.core.database import db
from portal.credits.models import CreditEntry
from portal.sandbox.chaos.rules import CALL_FAULTS
from portal.usage.models import UsageEvent
from tests.cast import Person
from tests.own_servers import OwnRedis, cut_connections
from tests.purchases import make_buyer, nothing_waits, paid_grants, states, violations
from tests.stage import Stage
from tests.trouble import call_fault, configure_chaos
from tests.web.api.backend import Backend, backend_of
from tests.worker_process import WorkerProcess, Workers, until

WORKERS = 2
PLANS = {"pro": 5_000, "business": 20_000}
BUNDLES = {"credits_500": 500, "credits_1000": 1_000}
METERS = ("send_email", "analyze_lead", "generate_campaign")
# Shorter than any month, so that there is never more than one to be renewed.
RENEWAL = timedelta(days=27)
TRIES_MAX = 200

T = TypeVar("T")

# Not the events, which this loop reads for itself and brings to the portal.
WORKERS_READ = ("checkout/sessions", "customers", "invoices", "payment_intents", "payment_methods", "subscriptions")


@dataclass
class Team:
    """A customer of the loop, and what its clients know: what was paid for, and what was acknowledged."""

    person: Person
    id: str
    plan: str
    backend: Backend
    bundles: list[str] = field(default_factory=list)
    uses: dict[str, str] = field(default_factory=dict)


@dataclass
class Chaos:
    """One loop on an app whose queue is in `redis`. `admin` is the address of a role that may end connections."""

    stage: Stage
    redis: OwnRedis
    workers: Workers
    admin: str
    seed: int
    say: Callable[[str], None]
    teams: list[Team] = field(default_factory=list)
    living: list[WorkerProcess] = field(default_factory=list)
    paused: list[WorkerProcess] = field(default_factory=list)
    backlog: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def run(self, rounds: int) -> None:
        """Raises `AssertionError` when something was lost or doubled, or is not applied a minute after the end."""
        for _ in range(WORKERS):
            self._start_worker().started()
        self._subscribe()
        steps, troubles = self._deck(STEPS), self._deck(TROUBLES)
        for number in range(1, rounds + 1):
            step, trouble = next(steps), next(troubles)
            self.say(f"{number}/{rounds} {trouble.replace('_', ' ')}, {step.replace('_', ' ')}")
            end = getattr(self, f"_{trouble}")()
            getattr(self, f"_{step}")()
            self._deliver_some()
            end()
            assert all(worker.running.poll() is None for worker in self.living), "a worker ended by itself"
        self._catch_up()
        self.check()

    def _deck(self, choices: Sequence[T]) -> Iterator[T]:
        """All of them in an order of its own, and again: in a short run, too, nothing is left out."""
        while True:
            yield from self.random.sample(choices, len(choices))

    # Steps. The clients send again what was not acknowledged.

    def _subscribe(self) -> None:
        person, team_id = make_buyer(self.stage.app, f"Team {len(self.teams)}")
        team = Team(person, team_id, self.random.choice(list(PLANS)), backend_of(self.stage.app, team_id, person))
        self._buy(team, {"plan": team.plan, "interval": "month"})
        self.teams.append(team)

    def _bundle(self) -> None:
        """Somebody whose plan has arrived may buy some, so it is waited for."""
        team, bundle = self.random.choice(self.teams), self.random.choice(list(BUNDLES))
        if not paid_grants(team.id):
            self._catch_up()
        self._buy(team, {"bundle": bundle})
        team.bundles.append(bundle)

    def _use(self) -> None:
        for _ in range(20):
            team, key = self.random.choice(self.teams), f"use-{self.random.getrandbits(64):x}"
            use = {"meter": self.random.choice(METERS), "quantity": self.random.randint(1, 9)}
            for _again in range(self.random.choice((1, 1, 2))):
                answer = self._insist(lambda team=team, key=key, use=use: self._report(team, key, use))  # type: ignore[misc]
                if answer.status_code == 200:
                    known = team.uses.setdefault(key, answer.get_json()["id"])
                    assert known == answer.get_json()["id"], f"{key} has two answers"
                else:
                    assert answer.status_code == 402, answer.get_data(as_text=True)

    def _renew(self) -> None:
        """Nobody is granted a month that is over, so what was said in one is applied before it ends."""
        self._catch_up()
        self.stage.advance(RENEWAL)

    def _catch_up(self) -> None:
        self._deliver(self.backlog + self.stage.new_events())
        self.backlog.clear()
        self._resume_workers()
        until(nothing_waits, "all is applied")

    def _report(self, team: Team, key: str, use: dict[str, Any]) -> TestResponse:
        headers = {"Authorization": f"Bearer {team.backend.secret}", "Idempotency-Key": key}
        return self.stage.app.test_client().post("/api/v1/usage", json=use, headers=headers)

    def _buy(self, team: Team, form: dict[str, str]) -> None:
        answer = self._insist(lambda: team.person.client.post(f"/teams/{team.id}/checkout", data=form))
        assert answer.status_code == 303, answer.get_data(as_text=True)
        assert self.stage.pay(str(answer.location)).status_code == 303

    def _deliver_some(self) -> None:
        """In any order, some of it twice; the rest comes later."""
        self.backlog += self.stage.new_events()
        self.random.shuffle(self.backlog)
        count = self.random.randint(len(self.backlog) // 2, len(self.backlog))
        now, self.backlog = self.backlog[:count], self.backlog[count:]
        self._deliver(now + self.random.sample(now, len(now) // 4))

    def _deliver(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            assert self._insist(lambda event=event: self.stage.send(event)).status_code == 200  # type: ignore[misc]

    def _insist(self, send: Callable[[], TestResponse]) -> TestResponse:
        """Send until there is an answer other than 503. A paused worker may hold a lock, so that it has to go on."""
        for _ in range(TRIES_MAX):
            answer = send()
            if answer.status_code != 503:
                return answer
            self._resume_workers()
        raise AssertionError("nothing but 503")

    # Troubles. Each returns what ends it after the round's step.

    def _nothing(self) -> Callable[[], None]:
        return _no_end

    def _kill_a_worker(self) -> Callable[[], None]:
        self._victim().kill()
        return _no_end

    def _stop_a_worker(self) -> Callable[[], None]:
        victim = self._victim()
        victim.send(signal.SIGTERM)

        def end() -> None:  # one that has only just begun has nothing to finish
            assert victim.terminate() in (0, -signal.SIGTERM), victim.log.read_text()

        return end

    def _pause_a_worker(self) -> Callable[[], None]:
        self.paused.append(self.random.choice(self.living))
        self.paused[-1].send(signal.SIGSTOP)
        return self._resume_workers

    def _stop_redis(self) -> Callable[[], None]:
        self.redis.kill()
        return self.redis.start

    def _flush_redis(self) -> Callable[[], None]:
        self.redis.client.flushall()
        return _no_end

    def _pause_redis(self) -> Callable[[], None]:
        self.redis.send(signal.SIGSTOP)
        return lambda: self.redis.send(signal.SIGCONT)

    def _cut_connections(self) -> Callable[[], None]:
        db.session.remove()
        cut_connections(self.admin)
        return _no_end

    def _break_stripe(self) -> Callable[[], None]:
        """One read in ten goes wrong in one way or another; whoever made it has to make it again."""
        rules = [
            call_fault(fault, f"GET /v1/{read}*", None, chance=2, milliseconds=20)
            for read in WORKERS_READ
            for fault in CALL_FAULTS
        ]
        configure_chaos(self.stage.stripe_url, rules=rules, seed=self.random.randrange(1000))

        def end() -> None:
            configure_chaos(self.stage.stripe_url, "DELETE")

        return end

    def _victim(self) -> WorkerProcess:
        """A worker to lose; another one takes its place at once."""
        victim = self.living.pop(self.random.randrange(len(self.living)))
        self._start_worker()
        return victim

    def _start_worker(self) -> WorkerProcess:
        self.living.append(self.workers.start(redis_url=self.redis.url))
        return self.living[-1]

    def _resume_workers(self) -> None:
        while self.paused:
            self.paused.pop().send(signal.SIGCONT)

    # What must hold in the end.

    def check(self) -> None:
        assert states() <= {"done", "ignored"}
        assert violations() == []
        twice = text("select cause_key from credit_entries group by team_id, cause_key having count(*) > 1")
        assert list(db.session.execute(twice)) == []
        self._check_uses()
        paid = self._paid_at_stripe()
        for team in self.teams:
            invoices = paid[team.id]
            periods = [one for one in invoices if one["billing_reason"] in PERIOD_REASONS]
            assert paid_grants(team.id) == [PLANS[team.plan]] * len(periods), team
            assert sorted(_bundles(team.id)) == sorted(BUNDLES[bundle] for bundle in team.bundles), team
            ours = select(Invoice.stripe_id, Invoice.amount_paid).where(Invoice.team_id == team.id)
            assert {row.stripe_id: row.amount_paid for row in db.session.execute(ours)} == {
                one["id"]: one["amount_paid"] for one in invoices
            }, team
            assert _payments(team.id) == self._received_at_stripe(team.id), team
        self.say(self._summary())
        db.session.rollback()

    def _check_uses(self) -> None:
        rows = db.session.execute(select(UsageEvent.team_id, UsageEvent.key, UsageEvent.id, UsageEvent.cost)).all()
        kept: dict[str, dict[str, str]] = defaultdict(dict)
        costs: Counter[str] = Counter()
        for row in rows:
            kept[row.team_id][row.key] = row.id
            costs[row.team_id] += row.cost
        spent = select(func.coalesce(func.sum(-CreditEntry.amount), 0)).where(CreditEntry.kind == "spent")
        for team in self.teams:
            assert kept[team.id] == team.uses
            assert db.session.execute(spent.where(CreditEntry.team_id == team.id)).scalar_one() == costs[team.id]

    def _paid_at_stripe(self) -> dict[str, list[dict[str, Any]]]:
        return {team.id: self._all("/v1/invoices", team.id, status="paid") for team in self.teams}

    def _received_at_stripe(self, team_id: str) -> int:
        return sum(one["amount_received"] for one in self._all("/v1/payment_intents", team_id))

    def _all(self, path: str, team_id: str, **params: Any) -> list[dict[str, Any]]:
        customer = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
        found: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            page = self.stage.stripe("GET", path, customer=customer, limit=100, **params, **more)
            found += page["data"]
            if not page["has_more"]:
                return found
            more = {"starting_after": found[-1]["id"]}

    def _summary(self) -> str:
        grants = sum(len(paid_grants(team.id)) for team in self.teams)
        bundles, uses = sum(len(team.bundles) for team in self.teams), sum(len(team.uses) for team in self.teams)
        return f"all is there once: {len(self.teams)} teams, {grants} paid periods, {bundles} bundles, {uses} uses"


STEPS = ("subscribe", "bundle", "use", "renew")
TROUBLES = (
    "nothing",
    "kill_a_worker",
    "stop_a_worker",
    "pause_a_worker",
    "stop_redis",
    "flush_redis",
    "pause_redis",
    "cut_connections",
    "break_stripe",
)


def _no_end() -> None:
    """The trouble has no end of its own."""


def _bundles(team_id: str) -> list[int]:
    query = select(CreditEntry.amount).where(CreditEntry.team_id == team_id, CreditEntry.cause_key.like("bundle:%"))
    return list(db.session.execute(query).scalars())


def _payments(team_id: str) -> int:
    """What our history says that the team has paid, in the minor unit."""
    paid = select(func.coalesce(func.sum(Payment.amount), 0)).where(Payment.status == "succeeded")
    return int(db.session.execute(paid.where(Payment.team_id == team_id)).scalar_one())
