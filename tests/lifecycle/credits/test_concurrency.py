"""Many at one account at once: every act happens once or not at all, in some order, and nobody is locked out."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any, TypeVar

import psycopg
import pytest
from flask import Flask
from psycopg.errors import LockNotAvailable
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import held_credits, holds, ledger, queries
from portal.credits.errors import HoldClosed
from portal.credits.storage import load_book, save_book
from portal.credits.verify import verify
from tests.lifecycle.credits.account import make_still_clock, new_team, read_rows, unit_at
from tests.worker_process import until

THREADS = 8

T = TypeVar("T")


@pytest.fixture
def team_id(app: Flask) -> str:
    return new_team()


@contextmanager
def threads(app: Flask) -> Iterator[Callable[[Callable[[], T]], Future[T]]]:
    """A pool whose every task has an app context and so a session and connection of its own."""

    def task(work: Callable[[], T]) -> T:
        with app.app_context():
            return work()

    db.session.remove()
    with ThreadPoolExecutor(THREADS) as pool:
        yield lambda work: pool.submit(task, work)


def all_at_once(app: Flask, works: list[Callable[[], T]]) -> list[T]:
    """Run each work in a unit of its own, all begun together."""
    barrier = Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        barrier.wait(30)
        return run_in_unit(work)

    with threads(app) as submit:
        futures = [submit(partial(begin, work)) for work in works]
        return [future.result(60) for future in futures]


def gift(team_id: str, amount: int, key: str, **times: Any) -> bool:
    return ledger.grant(team_id, kind="gift", amount=amount, cause_key=key, source="", **times)


def assert_sound(team_id: str) -> None:
    assert [finding for finding in verify(team_id) if finding.violations] == []


@pytest.mark.parametrize("frozen", [0, 30])
def test_a_period_that_rolls_over_between_deductions_gives_each_of_them_one_period(
    app: Flask, team_id: str, frozen: int
) -> None:
    """Fault 30: many deductions a tick before the instant, at it and a tick after it, all at once and in any order."""
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    start = datetime(2030, 1, 31, 12, tzinfo=UTC)
    rolls, tick = start + timedelta(days=28), timedelta(microseconds=1)
    with unit_at(start):
        gift(team_id, 200, "january", effective_at=start, expires_at=rolls)
        gift(team_id, 100, "february", effective_at=rolls, expires_at=rolls + timedelta(days=31))
        if frozen:
            ledger.freeze(team_id, "january", frozen, "dispute:1:frozen")

    def spend_at(moment: datetime, number: int) -> bool:
        with unit_at(moment):
            try:
                ledger.spend(team_id, 1, f"usage:{number}")
            except ledger.InsufficientCredits:
                return False
            return True

    moments = [rolls - tick, rolls, rolls + tick] * 60
    random.Random(frozen).shuffle(moments)
    with threads(app) as submit:
        done = [submit(partial(spend_at, moment, number)) for number, moment in enumerate(moments)]
        answered = [future.result(60) for future in done]
    rows = read_rows(team_id)
    assert rows is not None
    spends = [entry for entry in rows.entries if entry["kind"] == "spent"]
    assert len(spends) == sum(answered), "who was told yes was charged, once"
    for entry in spends:
        assert list(entry["used"]) == ["january" if entry["at"] < rolls.timestamp() else "february"]
    of_january = sum(entry["used"]["january"] for entry in spends)
    ended = [entry["amount"] for entry in rows.entries if entry["kind"] == "expired"]
    assert ended == [of_january - 200], "what was left of it ended once, with what was frozen"
    assert_sound(team_id)


def test_an_account_is_opened_once(app: Flask, team_id: str) -> None:
    """Nobody has touched the account before, and everybody wants to be the first."""
    granted = all_at_once(app, [partial(gift, team_id, 10, f"gift:{n}") for n in range(THREADS)])
    assert granted == [True] * THREADS
    assert queries.balance(team_id) == queries.Balance(80, 0, 0, THREADS)
    assert_sound(team_id)


def test_one_cause_from_everywhere_grants_once(app: Flask, team_id: str) -> None:
    granted = all_at_once(app, [partial(gift, team_id, 10, "gift:one")] * THREADS)
    assert sorted(granted) == [False] * (THREADS - 1) + [True]
    assert queries.balance(team_id).available == 10


def test_one_key_from_everywhere_spends_once(app: Flask, team_id: str) -> None:
    with unit_of_work():
        gift(team_id, 100, "gift:one")
    answers = all_at_once(app, [partial(ledger.spend, team_id, 60, "usage:one")] * THREADS)
    assert len(set(answers)) == 1
    assert queries.balance(team_id).available == 40


def test_the_last_credits_are_spent_once(app: Flask, team_id: str) -> None:
    with unit_of_work():
        gift(team_id, 60, "gift:one")

    def spend(number: int) -> bool:
        try:
            ledger.spend(team_id, 60, f"usage:{number}")
        except ledger.InsufficientCredits:
            return False
        return True

    won = all_at_once(app, [partial(spend, number) for number in range(THREADS)])
    assert sorted(won) == [False] * (THREADS - 1) + [True]
    assert queries.balance(team_id).available == 0


def test_a_grant_is_taken_back_once(app: Flask, team_id: str) -> None:
    """Full refunds under different causes: together they never take more than was given."""
    with unit_of_work():
        gift(team_id, 60, "gift:one")
    taken = all_at_once(app, [partial(ledger.reverse, team_id, "gift:one", 60, f"refund:{n}") for n in range(THREADS)])
    assert sum(taken) == 60
    assert queries.balance(team_id) == queries.Balance(0, 0, 0, 2)
    assert_sound(team_id)


def test_expiry_is_posted_once(app: Flask, team_id: str) -> None:
    """The sweep, a spend, a subscription that takes the place, and time itself, all at the same grant."""
    with unit_of_work():
        gift(team_id, 60, "gift:short", expires_at=clock.now() + timedelta(hours=1))
        gift(team_id, 5, "gift:long")
    with unit_of_work():
        clock.advance(timedelta(hours=1))
    works: list[Callable[[], object]] = [partial(ledger.post_due, team_id)] * 4
    works += [partial(ledger.end_early, team_id, "gift:short")] * 2
    works += [partial(ledger.spend, team_id, 1, f"usage:{number}") for number in range(2)]
    all_at_once(app, works)
    rows = read_rows(team_id)
    assert rows is not None
    assert [entry["amount"] for entry in rows.entries if entry["kind"] == "expired"] == [-60]
    assert queries.balance(team_id).available == 3


def outcome(act: Callable[..., object], *args: object) -> str:
    """What came of it, where several at once want different things and one of them has its way."""
    try:
        act(*args)
    except (HoldClosed, ledger.InsufficientCredits) as refused:
        return type(refused).__name__
    return "done"


def test_a_hold_is_settled_once(app: Flask, team_id: str) -> None:
    """Under one key by all that ask, under keys of their own by one of them."""
    with unit_of_work():
        gift(team_id, 100, "gift:one")
        one, other = (holds.hold(team_id, 40, f"hold:{number}", timedelta(hours=1)) for number in range(2))
    answers = all_at_once(app, [partial(holds.settle, team_id, one.id, 30, "usage:one")] * THREADS)
    assert len(set(answers)) == 1
    works: list[Callable[[], str]] = [
        partial(outcome, holds.settle, team_id, other.id, 10, f"usage:{n}") for n in range(THREADS)
    ]
    assert sorted(all_at_once(app, works)) == ["HoldClosed"] * (THREADS - 1) + ["done"]
    assert queries.balance(team_id) == queries.Balance(60, 0, 0, 3)
    assert_sound(team_id)


def test_a_hold_is_made_once(app: Flask, team_id: str) -> None:
    with unit_of_work():
        gift(team_id, 100, "gift:one")
    made = all_at_once(app, [partial(holds.hold, team_id, 60, "hold:one", timedelta(hours=1))] * THREADS)
    assert len({held.id for held in made}) == 1
    assert sum(held.new for held in made) == 1
    works: list[Callable[[], str]] = [
        partial(outcome, holds.hold, team_id, 40, f"hold:other:{n}", timedelta(hours=1)) for n in range(THREADS)
    ]
    assert sorted(all_at_once(app, works)) == ["InsufficientCredits"] * (THREADS - 1) + ["done"]
    assert queries.balance(team_id) == queries.Balance(0, 100, 0, 1)
    assert_sound(team_id)


@pytest.mark.parametrize("late", [timedelta(), timedelta(hours=1)], ids=["in time", "at the end"])
def test_settled_released_or_over_and_only_one_of_them(app: Flask, team_id: str, late: timedelta) -> None:
    """A settlement, a release, the schedule and a spend at one hold, half of whose lot ends with it."""
    for number in range(5):
        with unit_of_work():
            gift(team_id, 10, f"gift:{number}", expires_at=clock.now() + timedelta(hours=1))
            held = holds.hold(team_id, 5, f"hold:{number}", timedelta(hours=1))
        with unit_of_work():
            clock.advance(late)
        works: list[Callable[[], str]] = [
            partial(outcome, holds.settle, team_id, held.id, 5, f"usage:{number}"),
            partial(outcome, holds.release, team_id, held.id),
            partial(outcome, ledger.post_due, team_id),
            partial(outcome, ledger.spend, team_id, 10, f"usage:all:{number}"),
        ]
        settled, released, _, _ = all_at_once(app, works)
        row = read_rows(team_id)
        assert row is not None
        state = next(one["state"] for one in row.holds if one["id"] == held.id)
        assert (settled, released) == {
            "settled": ("done", "HoldClosed"),
            "released": ("HoldClosed", "done"),
            "expired": ("HoldClosed", "HoldClosed"),
        }[state]
        assert (state == "expired") == bool(late)
        with unit_of_work():
            clock.advance(timedelta(hours=1))
    assert queries.balance(team_id).available == 0
    assert_sound(team_id)


def close_one(team_id: str, chance: random.Random, number: int) -> object:
    open_ones = held_credits.open_holds(team_id)
    if not open_ones:
        return None
    held = chance.choice(open_ones)
    if chance.randrange(3) == 0:
        return holds.release(team_id, held.id)
    return holds.settle(team_id, held.id, chance.randint(1, held.amount), f"settled:{number}")


def random_act(team_id: str, chance: random.Random, number: int) -> object:  # noqa: PLR0911  one for each act
    """One act of any kind on grants that may or may not be there."""
    key = f"gift:{chance.randrange(20)}"
    now = clock.now()
    try:
        match chance.randrange(9):
            case 0:
                start = now + timedelta(minutes=chance.randint(-30, 30))
                return gift(team_id, 50, key, effective_at=start, expires_at=start + timedelta(minutes=40))
            case 1:
                return ledger.reverse(team_id, key, chance.randint(1, 50), f"refund:{number}")
            case 2:
                return ledger.end_early(team_id, key)
            case 3:
                return ledger.post_due(team_id)
            case 4:
                return holds.hold(team_id, chance.randint(1, 30), f"hold:{number}", timedelta(minutes=30))
            case 5 | 6:
                return close_one(team_id, chance, number)
            case _:
                return ledger.spend(team_id, chance.randint(1, 20), f"usage:{chance.randrange(200)}")
    except (ledger.InsufficientCredits, ledger.CauseConflict, ledger.UnknownGrant, HoldClosed) as refused:
        return refused


def test_everything_at_once_on_one_account(app: Flask, team_id: str) -> None:
    """No deadlock, no lock that is not given back, and a ledger that can be proved. Meanwhile an hour goes by."""

    def work(seed: int) -> int:
        chance = random.Random(seed)
        for number in range(60):
            with unit_of_work():
                random_act(team_id, chance, 1000 * seed + number)
        return seed

    def let_time_pass() -> int:
        for _ in range(60):
            with unit_of_work():
                clock.advance(timedelta(minutes=1))
        return -1

    with threads(app) as submit:
        futures = [submit(partial(work, seed)) for seed in range(THREADS - 1)] + [submit(let_time_pass)]
        assert [future.result(300) for future in futures] == [*range(THREADS - 1), -1]
    assert_sound(team_id)


def test_two_accounts_locked_crosswise_are_both_served(app: Flask, team_id: str) -> None:
    """A unit over two accounts may meet its mirror image: one of them is undone by PostgreSQL and done again."""
    teams = [team_id, new_team()]
    for number, team in enumerate(teams):
        with unit_of_work():
            gift(team, 10, f"gift:{number}")
    meeting = Barrier(2)
    met: list[int] = []

    def spend_both(number: int) -> int:
        first, second = teams[number], teams[1 - number]
        ledger.spend(first, 1, f"usage:{number}")
        if number not in met:
            met.append(number)
            meeting.wait(30)
        return ledger.spend(second, 1, f"usage:{number}").balance

    with threads(app) as submit:
        futures = [submit(partial(run_in_unit, partial(spend_both, number))) for number in range(2)]
        for future in futures:
            future.result(60)
    assert [queries.balance(team).available for team in teams] == [8, 8]


@contextmanager
def held(app: Flask, team_id: str) -> Iterator[psycopg.Connection]:
    """Somebody holds the account's lock until the block ends."""
    url = make_url(app.config["SETTINGS"].database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute("select from credit_accounts where team_id = %s for update", [team_id])
        yield connection


def test_a_lock_that_takes_too_long_changes_nothing(app: Flask, team_id: str) -> None:
    with unit_of_work():
        gift(team_id, 10, "gift:one")

    def spend_impatiently() -> None:
        with unit_of_work() as session:
            session.execute(text("set local lock_timeout = '50ms'"))
            ledger.spend(team_id, 1, "usage:one")

    with held(app, team_id), pytest.raises(OperationalError) as timed_out:
        spend_impatiently()
    assert isinstance(timed_out.value.orig, LockNotAvailable)
    with unit_of_work():
        assert ledger.spend(team_id, 1, "usage:one") == ledger.spend(team_id, 1, "usage:one")
    assert queries.balance(team_id) == queries.Balance(9, 0, 0, 2)


def test_a_writer_without_the_lock_is_found_out(app: Flask, team_id: str) -> None:
    """The account is written at the version that was read, or not at all."""
    with unit_of_work():
        gift(team_id, 10, "gift:one")

    def spend_without_the_lock() -> None:
        with unit_of_work():
            book = load_book(team_id)
            assert book is not None
            book.spend(1, "usage:unlocked")
            # Saved twice, the second finds the account at a version that it did not read.
            twin = copy.deepcopy(book)
            twin.postings[0] = dataclasses.replace(twin.postings[0], version=99, cause_key="usage:twin")
            save_book(book)
            save_book(twin)

    with pytest.raises(ledger.LedgerError, match="without its lock"):
        spend_without_the_lock()
    assert queries.balance(team_id) == queries.Balance(10, 0, 0, 1)


def test_a_read_does_not_wait_for_the_lock(app: Flask, team_id: str) -> None:
    with unit_of_work():
        gift(team_id, 10, "gift:one")
    with held(app, team_id), unit_of_work() as session:
        session.execute(text("set local lock_timeout = '50ms'"))
        assert queries.summary(team_id).available == 10


def test_what_counts_is_the_time_when_the_lock_is_had(app: Flask, team_id: str) -> None:
    """A spend asked for in time, which gets its turn only after the grant is over, is refused; and the other way
    round one that waited until a grant began is served from it.
    """
    later = timedelta(days=1)
    with unit_of_work():
        gift(team_id, 10, "gift:ending", expires_at=clock.now() + later)
        gift(team_id, 7, "gift:coming", effective_at=clock.now() + later)
    with threads(app) as submit:
        with held(app, team_id):
            too_late = submit(partial(run_in_unit, partial(ledger.spend, team_id, 10, "usage:late")))
            until(somebody_waits, "the spend waits for the lock")
            with unit_of_work():
                clock.advance(later)
            db.session.remove()
        with pytest.raises(ledger.InsufficientCredits) as refused:
            too_late.result(60)
    assert (refused.value.available, refused.value.cost) == (7, 10)
    assert_sound(team_id)


def somebody_waits() -> bool:
    waiting = text(
        "select exists (select from pg_locks join pg_stat_activity using (pid)"
        " where not granted and datname = current_database())"
    )
    return bool(db.session.execute(waiting).scalar())
