"""A POST is done once for each key of a team: at once, again, after a refusal, a crash and a try that took too long."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, Response, g
from sqlalchemy import func, select, text
from werkzeug.exceptions import Conflict

from portal.api.authentication import Caller
from portal.api.jobs import sweep_idempotency_keys
from portal.api.once import once
from portal.core import clock, idempotency
from portal.core.database import db
from portal.core.errors import ApiError
from portal.core.idempotency import IdempotencyKey, Request, Try
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast

AT_ONCE = 20
BODY = {"what": "a page", "size": 1}


@dataclass
class Orders:
    """A view that makes something each time it is let, and the requests that want it made."""

    app: Flask
    team_id: str
    made: list[str] = field(default_factory=list)
    work: Callable[[], None] = lambda: None

    def view(self, try_id: str, fields: dict[str, Any]) -> Response:
        self.work()
        self.made.append(try_id)
        return Response(json.dumps({"id": f"thing_{len(self.made)}", **fields}), 200, mimetype="application/json")

    def post(
        self, key: str = "order-1", body: Any = None, *, team_id: str | None = None, path: str = "/things"
    ) -> Response:
        content = BODY if body is None else body
        with self.app.test_request_context(path, method="POST", json=content):
            g.caller = Caller(team_id or self.team_id, "key_test")
            try:
                return once(self.view)({"idempotency_key": key}, content)
            except ApiError as error:
                return Response(error.code, error.status, error.headers)
            finally:
                db.session.remove()


@pytest.fixture
def orders(app: Flask, cast: Cast) -> Orders:
    return Orders(app, cast.team_id)


def replayed(answer: Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def rows() -> int:
    return db.session.execute(select(func.count()).select_from(IdempotencyKey)).scalar_one()


def test_the_same_again_is_answered_byte_for_byte(orders: Orders) -> None:
    first, again = orders.post(), orders.post()
    assert (first.status_code, replayed(first)) == (200, False)
    assert (again.status_code, replayed(again), again.data) == (200, True, first.data)
    assert len(orders.made) == 1


def test_the_spelling_of_the_body_does_not_matter(orders: Orders) -> None:
    assert orders.post(body={"a": 1, "b": 2}).status_code == 200
    assert replayed(orders.post(body={"b": 2, "a": 1}))


@pytest.mark.parametrize(
    ("body", "path"), [({"what": "a page", "size": 2}, "/things"), ({}, "/things"), (BODY, "/others")]
)
def test_a_key_stands_for_one_request(orders: Orders, body: Any, path: str) -> None:
    orders.post()
    other = orders.post(body=body, path=path)
    assert (other.status_code, other.data) == (409, b"key_reused")
    assert len(orders.made) == 1


def test_s81_the_same_key_of_another_team_is_another_key(orders: Orders, cast: Cast) -> None:
    orders.post()
    theirs = orders.post(body={"other": True}, team_id=cast.other_team_id)
    assert (theirs.status_code, replayed(theirs)) == (200, False)
    assert len(set(orders.made)) == 2


def test_twenty_at_once_are_one_effect(orders: Orders) -> None:
    together = threading.Barrier(AT_ONCE)

    def ask(_number: int) -> Response:
        together.wait()
        return orders.post()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(ask, range(AT_ONCE)))
    assert len(orders.made) == 1
    found = Counter(answer.status_code for answer in answers)
    assert set(found) <= {200, 409}
    assert len({answer.data for answer in answers if answer.status_code == 200}) == 1
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 409)
    assert replayed(orders.post())


def test_while_one_is_at_work_the_others_are_told_to_wait(orders: Orders) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    orders.work = work
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(orders.post)
        assert begun.wait(20)
        meanwhile, other = orders.post(), orders.post(body={"size": 3})
        go_on.set()
        assert first.result().status_code == 200
    assert (meanwhile.status_code, meanwhile.data) == (409, b"key_in_flight")
    assert 1 <= int(meanwhile.headers["Retry-After"]) <= 5
    assert other.data == b"key_reused"
    assert replayed(orders.post())


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError(402, "insufficient_credits", "insufficient_credits", "no"),
        ApiError(409, "invalid_request_error", "already_subscribed", "no"),
        ApiError(422, "invalid_request_error", "not_for_sale", "no"),
        Conflict(),
    ],
)
def test_a_refusal_leaves_the_key_free(orders: Orders, refusal: Exception) -> None:
    def refuse() -> None:
        raise refusal

    orders.work = refuse
    try:
        assert orders.post().status_code >= 400
    except Conflict:
        db.session.rollback()
    assert rows() == 0
    orders.work = lambda: None
    assert orders.post(body={"another": "request"}).status_code == 200


@pytest.mark.parametrize(
    "trouble", [ApiError(502, "api_error", "payment_provider_unavailable", "?"), RuntimeError("?")]
)
def test_an_unknown_outcome_is_gone_on_with_under_the_same_id(orders: Orders, trouble: Exception) -> None:
    """What Stripe is asked carries the id, so that it is asked for the same thing again and not for a second one."""
    tries: list[str] = []
    whole = orders.view

    def view(try_id: str, fields: dict[str, Any]) -> Response:
        tries.append(try_id)
        if len(tries) == 1:
            raise trouble
        return whole(try_id, fields)

    orders.view = view  # type: ignore[method-assign]
    try:
        assert orders.post().status_code == 502
    except RuntimeError:
        db.session.rollback()
    assert orders.post(body={"other": 1}).data == b"key_reused"
    answer = orders.post()
    assert (answer.status_code, replayed(answer)) == (200, False)
    assert tries == [tries[0]] * 2


def take(orders: Orders) -> Try:
    """What a process does that dies right after."""
    with unit_of_work():
        taken = idempotency.begin(Request(orders.team_id, "order-1", "POST /things", BODY))
    assert isinstance(taken, Try)
    return taken


def end_lease() -> None:
    with unit_of_work() as session:
        session.execute(text("update idempotency_keys set lease_until = now() - interval '1 second'"))


def test_a_try_that_died_is_taken_over_when_its_lease_is_over(orders: Orders) -> None:
    dead = take(orders)
    assert orders.post().data == b"key_in_flight"
    end_lease()
    assert orders.post().status_code == 200
    assert orders.made == [dead.id]


def test_of_many_that_find_a_dead_try_one_takes_over(orders: Orders) -> None:
    take(orders)
    end_lease()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: orders.post().status_code, range(AT_ONCE)))
    assert set(answers) <= {200, 409}
    assert len(orders.made) == 1


def test_a_try_that_was_taken_over_writes_nothing_any_more(orders: Orders) -> None:
    slow = take(orders)
    end_lease()
    answer = orders.post()
    with unit_of_work():
        assert not idempotency.finish(slow, 200, '{"id": "late"}')
        idempotency.forget(slow)
        idempotency.give_up(slow)
    assert orders.post().data == answer.data


def test_answers_are_kept_for_a_day_at_least_and_not_for_ever(orders: Orders) -> None:
    orders.post()
    with unit_of_work():
        clock.advance(timedelta(hours=25))
    assert sweep_idempotency_keys() == 0
    assert replayed(orders.post())
    with unit_of_work():
        clock.advance(timedelta(hours=24))
    assert sweep_idempotency_keys() == 1
    assert not replayed(orders.post())
