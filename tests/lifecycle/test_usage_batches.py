"""Many uses at once come to what they would come to one after another, whoever else reports, and whatever breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from portal.core import clock, statements
from portal.core.database import db
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import ledger
from portal.credits.errors import InsufficientCredits
from portal.credits.queries import balance
from portal.credits.verify import verify
from portal.usage.metering import Answer, MeteringError, Recorded, UnknownMeter, Use, record, record_all
from tests.cast import Cast, make_team_of, make_user
from tests.conftest import empty_tables

# What the days say must be what the events say; both by day, since a month that begins within one splits it.
DISAGREEMENTS = text(
    "with days as (select team_id, date_trunc('day', starts_at, 'UTC') as day, meter, api_key_id, user_id,"
    "   sum(quantity) as quantity, sum(cost) as cost, sum(events) as events from usage_daily group by 1, 2, 3, 4, 5),"
    " uses as (select team_id, date_trunc('day', occurred_at, 'UTC') as day, meter, coalesce(api_key_id, '') as api_key_id,"
    "   coalesce(user_id, '') as user_id, sum(quantity) as quantity, sum(cost) as cost, count(*) as events"
    "   from usage_events group by 1, 2, 3, 4, 5)"
    " select * from days full join uses using (team_id, day, meter, api_key_id, user_id)"
    " where (days.quantity, days.cost, days.events) is distinct from (uses.quantity, uses.cost, uses.events)"
)
UNEXPLAINED = text(
    "select e.id from credit_entries e left join usage_events u on u.team_id = e.team_id and u.entry_id = e.id"
    " where e.kind = 'spent' and (u.id is null or u.cost <> -e.amount or 'usage:' || u.key <> e.cause_key)"
)


def assert_sound() -> None:
    assert [found for found in verify() if found.violations] == []
    assert db.session.execute(DISAGREEMENTS).all() == []
    assert db.session.execute(UNEXPLAINED).all() == []
    db.session.rollback()


def answer(recorded: Recorded) -> str:
    return json.dumps([recorded.use.key, recorded.cost, recorded.balance, recorded.used])


def told(outcome: Any) -> Any:
    """An outcome without what differs between two teams."""
    if isinstance(outcome, Answer):
        return outcome
    return type(outcome).__name__, vars(outcome)


def singly(use: Use) -> Any:
    try:
        return run_in_unit(lambda: record(use, answer))
    except (MeteringError, InsufficientCredits) as refused:
        return refused


def together(uses: Sequence[Use]) -> list[Any]:
    return list(run_in_unit(lambda: record_all(uses[0].team_id, uses, answer)))


def new_team(given_credits: int) -> str:
    with unit_of_work():
        team = make_team_of(make_user())
        now = clock.now()
        if given_credits:
            half = given_credits // 2
            for number, amount in enumerate(filter(None, (half, given_credits - half))):
                ends = now + timedelta(days=5) if number else None
                ledger.grant(
                    team.id, kind="gift", amount=amount, cause_key=f"gift:{number}", source="A gift", expires_at=ends
                )
    db.session.remove()
    return team.id


KEYS = st.sampled_from([f"k{number}" for number in range(6)])
METERS = st.sampled_from(["send_email", "analyze_lead", "generate_campaign", "api_calls", "api_calls", "send_fax"])
QUANTITIES = st.sampled_from([1, 2, 3, 7, 400, 999])
AGES = st.sampled_from([None, None, None, timedelta(), timedelta(days=2), timedelta(days=40), timedelta(minutes=-2)])
REPORTS = st.tuples(KEYS, METERS, QUANTITIES, AGES)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    given_credits=st.sampled_from([0, 1, 5, 30, 500, 5_000]),
    batches=st.lists(st.lists(REPORTS, min_size=1, max_size=12), min_size=1, max_size=3),
)
def test_a_batch_is_the_same_uses_one_after_another(app: Flask, given_credits: int, batches: list[list[Any]]) -> None:
    ours, model = new_team(given_credits), new_team(given_credits)
    now = run_in_unit(clock.now)
    for batch in batches:
        uses = [_use(ours, now, *report) for report in batch]
        outcomes = [told(outcome) for outcome in together(uses)]
        assert outcomes == [told(singly(replace(use, team_id=model))) for use in uses]
    states = []
    for team_id in (ours, model):
        left = balance(team_id)
        days = text(
            "select meter, quantity, cost, events from usage_daily where team_id = :team order by starts_at, meter"
        )
        states.append((left.available, left.debt, db.session.execute(days, {"team": team_id}).all()))
    assert states[0] == states[1]
    assert_sound()


def _use(team_id: str, now: datetime, key: str, meter: str, quantity: int, age: timedelta | None) -> Use:
    return Use(team_id, key, meter, quantity, occurred_at=None if age is None else now - age)


THREADS, CREDITS = 6, 4_000


def test_batches_and_singles_at_once_on_one_account_leave_it_exact(app: Flask) -> None:
    chance = random.Random(20)
    team_id = new_team(CREDITS)
    fresh = [Use(team_id, f"use-{number}", "send_email", chance.randint(1, 4)) for number in range(1_700)]
    metered = [Use(team_id, f"call-{number}", "api_calls", 5) for number in range(300)]
    uses = fresh + metered + [chance.choice(fresh) for _ in range(700)] + [chance.choice(metered) for _ in range(150)]
    chance.shuffle(uses)
    pieces: list[list[Use]] = []
    while uses:
        size = chance.choice([1, 1, 1, 10, 50, 120])
        pieces.append(uses[:size])
        uses = uses[size:]

    def report(piece: list[Use]) -> list[Any]:
        with app.app_context():
            return together(piece) if len(piece) > 1 else [singly(piece[0])]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(report, pieces))
    outcomes: dict[str, list[Any]] = {}
    for piece, results in zip(pieces, found, strict=True):
        for use, outcome in zip(piece, results, strict=True):
            outcomes.setdefault(use.key, []).append(outcome)
    paid = {use.key: use.quantity for use in fresh}
    taken = 0
    for key, results in outcomes.items():
        answers = [result for result in results if isinstance(result, Answer)]
        assert len({result.body for result in answers}) <= 1, key
        assert sum(not result.replayed for result in answers) == bool(answers), key
        refused = {type(result).__name__ for result in results if not isinstance(result, Answer)}
        assert refused <= {"InsufficientCredits" if key in paid else "IncludedUsedUp"}, key
        if answers and key in paid:
            taken += paid[key]
    left = balance(team_id).available
    assert taken == CREDITS - left
    # The smallest use that was refused did not fit into what was left.
    assert left < 4
    calls = text("select sum(quantity) from usage_daily where meter = 'api_calls'")
    assert db.session.execute(calls).scalar() == 1_000
    assert_sound()


STATEMENTS_OF_A_BATCH = 7


@pytest.mark.parametrize("place", range(STATEMENTS_OF_A_BATCH))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_batch_that_breaks_anywhere_leaves_nothing(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, place: int, when: str
) -> None:
    """At each of its statements, before it reaches the server and after it was done there."""
    team_id = new_team(50)
    uses = [Use(team_id, f"use-{number}", "send_email", 1 + number) for number in range(5)]
    uses += [Use(team_id, "call", "api_calls", 10)]
    run, sent = statements.run, []

    def breaking(connection: psycopg.Connection, statement: statements.Statement, parameters: Any) -> Any:
        sent.append(statement)
        if len(sent) == place + 1 and when == "before":
            raise psycopg.OperationalError("the connection is gone")
        rows = run(connection, statement, parameters)
        if len(sent) == place + 1:
            raise psycopg.OperationalError("the connection is gone")
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(statements, "run", breaking)
        with pytest.raises(OperationalError):
            together(uses)
    assert len(sent) == place + 1
    assert db.session.execute(text("select count(*) from usage_keys")).scalar() == 0
    assert balance(team_id).available == 50
    db.session.rollback()
    outcomes = together(uses)
    assert all(isinstance(outcome, Answer) and not outcome.replayed for outcome in outcomes)
    assert [outcome.body for outcome in together(uses)] == [outcome.body for outcome in outcomes]
    assert balance(team_id).available == 35
    assert_sound()


def test_a_batch_that_is_recorded_is_answered_while_the_account_is_locked(app: Flask) -> None:
    team_id = new_team(50)
    uses = [Use(team_id, f"use-{number}", "send_email", 3) for number in range(5)]
    uses.append(Use(team_id, "fax", "send_fax", 1))
    first = together(uses)
    with db.engine.connect() as holder:
        holder.execute(text("select from credit_accounts where team_id = :team for update"), {"team": team_id})
        again = together(uses)
    assert [told(outcome) for outcome in again[:5]] == [replace(one, replayed=True) for one in first[:5]]
    assert isinstance(again[5], UnknownMeter)


def test_the_totals_are_part_of_the_unit(app: Flask) -> None:
    team_id = new_team(50)
    uses = [Use(team_id, "use", "send_email", 3)]
    with pytest.raises(ZeroDivisionError):
        run_in_unit(lambda: (record_all(team_id, uses, answer), 1 // 0))
    assert db.session.execute(text("select count(*) from usage_daily")).scalar() == 0
    assert balance(team_id).available == 50


@pytest.mark.parametrize(
    "change",
    [
        "update usage_daily set quantity = quantity - 1",
        "update usage_daily set meter = 'other', events = events + 1",
        "delete from usage_daily",
        "truncate usage_daily",
    ],
)
def test_totals_only_grow(app: Flask, change: str) -> None:
    """As the owner of the tables, whom only the triggers stop."""
    team_id = new_team(50)
    together([Use(team_id, "use", "send_email", 3)])
    owner = app.config["SETTINGS"].database_owner_url.replace("+psycopg", "")
    with psycopg.connect(owner) as connection, pytest.raises(psycopg.Error):
        connection.execute(change)
    empty_tables(app)
