"""Uses that are reported at the same moment: recorded together, answered each for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from portal.api import gathering
from portal.api.usage import gathering as uses
from portal.core import together as threads
from portal.core.database import db
from portal.credits.models import CreditEntry
from portal.usage import metering
from tests.threads import SECONDS_MAX, until
from tests.web.api.backend import Backend, error_of
from tests.web.api.test_usage import NOTHING, booked

ours = uses._together
AT_ONCE = 8


@contextmanager
def held(backend: Backend) -> Iterator[None]:
    """Somebody else holds the team's lock, so that what arrives gathers."""
    with backend.app.app_context():
        holder = db.engine.connect()
    try:
        holder.execute(
            text("select 1 from credit_accounts where team_id = :team for update"), {"team": backend.team_id}
        )
        yield
    finally:
        holder.rollback()
        holder.close()


def gathered(team_id: str) -> int:
    with ours._guard:
        return len(ours._waiting.get(team_id, ()))


def together(backend: Backend, *uses: Callable[[], TestResponse]) -> list[TestResponse]:
    """Make the calls so that all but the first wait for it."""
    with ThreadPoolExecutor(len(uses)) as pool:
        with held(backend):
            futures: list[Future[TestResponse]] = []
            for number, use in enumerate(uses):
                futures.append(pool.submit(use))
                until(lambda: backend.team_id in ours._waiting and gathered(backend.team_id) == number)  # noqa: B023  called within the turn
        return [future.result() for future in futures]


def units(backend: Backend) -> int:
    """Everything that is spent in one unit is of one instant."""
    with backend.app.app_context():
        query = select(func.count(func.distinct(CreditEntry.at))).where(CreditEntry.kind == "spent")
        return int(db.session.execute(query).scalar_one())


def test_what_arrives_meanwhile_is_recorded_together(backend: Backend) -> None:
    answers = together(backend, *(lambda n=n: backend.use(quantity=n, key=f"order-{n}") for n in range(1, 9)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert [answer.get_json()["quantity"] for answer in answers] == list(range(1, 9))
    assert [answer.get_json()["balance"] for answer in answers] == [99, 97, 94, 90, 85, 79, 72, 64]
    assert booked(backend) == {"events": 8, "keys": 8, "spends": 8, "available": 64}
    assert units(backend) == 1
    assert ours._waiting == {}


def test_each_gets_its_own_answer(backend: Backend) -> None:
    answers = together(
        backend,
        lambda: backend.use(quantity=90, key="a"),
        lambda: backend.use(quantity=90, key="a"),
        lambda: backend.use(quantity=11, key="b"),
        lambda: backend.use("send_fax", key="c"),
        lambda: backend.use(quantity=1, key="a"),
        lambda: backend.use(quantity=10, key="d"),
    )
    assert [answer.status_code for answer in answers] == [200, 200, 402, 422, 409, 200]
    assert answers[0].data == answers[1].data
    assert ["Idempotent-Replayed" in answer.headers for answer in answers[:2]] == [False, True]
    assert (error_of(answers[2])["balance"], error_of(answers[2])["cost"]) == (10, 11)
    assert booked(backend) == {"events": 2, "keys": 2, "spends": 2, "available": 0}


def test_one_that_breaks_the_others_does_not_take_them_along(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(team_id: str, gather: Any, answer: Any) -> Any:
        def uses() -> Any:
            found = gather()
            if any(use.key == "poison" for use in found):
                raise ZeroDivisionError
            return found

        return metering.record_gathered(team_id, uses, answer)

    monkeypatch.setattr(gathering, "record_gathered", breaking)
    keys = ["first", "a", "poison", "b"]
    answers = together(backend, *(lambda key=key: backend.use(key=key) for key in keys))
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    assert booked(backend) == {"events": 3, "keys": 3, "spends": 3, "available": 97}
    assert ours._waiting == {}


def test_while_the_lock_is_held_too_long_all_are_told_to_try_again(backend: Backend) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool, held(backend):
        answers = list(pool.map(lambda number: backend.use(key=f"order-{number}"), range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {503}
    assert all(answer.headers["Retry-After"] for answer in answers)
    assert booked(backend) == NOTHING
    assert ours._waiting == {}
    assert backend.use(key="order-1").status_code == 200


def test_whoever_waits_too_long_records_alone(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the thread that leads is stuck: the key keeps it from being counted twice."""
    monkeypatch.setattr(threads, "WAIT_SECONDS_MAX", 0.05)
    leave, left = ours._leave, []

    def noted(name: str, waiting: Any) -> None:
        leave(name, waiting)
        left.append(waiting)

    monkeypatch.setattr(ours, "_leave", noted)
    with ThreadPoolExecutor(4) as pool:
        with held(backend):
            futures = [pool.submit(backend.use, key=f"order-{number}") for number in range(4)]
            until(lambda: len(left) == 3)
        answers = [future.result() for future in futures]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert booked(backend) == {"events": 4, "keys": 4, "spends": 4, "available": 96}
    assert ours._waiting == {}


def test_one_team_does_not_wait_for_another(backend: Backend, other_backend: Backend) -> None:
    other_backend.give(10)
    with ThreadPoolExecutor(1) as pool:
        with held(backend):
            mine = pool.submit(backend.use, key="mine")
            until(lambda: backend.team_id in ours._waiting)
            assert other_backend.use(key="theirs").status_code == 200
        assert mine.result().status_code == 200


def test_who_records_waits_for_a_request_with_its_key_that_is_being_read(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "COMING_SECONDS_MAX", SECONDS_MAX)
    key = f"Bearer {backend.secret}"
    with uses._arrivals.expected(key) as arrive, ThreadPoolExecutor(1) as pool:
        mine = pool.submit(backend.use, key="mine")
        until(lambda: key in uses._arrivals._awaited)
        assert booked(backend) == NOTHING
        arrive()
        assert mine.result().status_code == 200


@pytest.mark.parametrize("fields", [{}, {"meter": "send_fax", "quantity": 1}, {"meter": "send_email", "quantity": 1}])
def test_a_request_that_has_ended_is_waited_for_no_more(backend: Backend, fields: dict[str, Any]) -> None:
    backend.post_usage(json=fields)
    backend.call("POST", "/usage", headers={"Authorization": "Bearer nobody's"})
    assert uses._arrivals._coming == {}
