"""Many reports at the same moment: one effect for one key, and never more than there is."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, text

from portal.core.database import db
from portal.credits.queries import balance
from portal.usage.models import UsageEvent
from tests.web.api.backend import Backend

AT_ONCE = 8


def test_one_key_fifty_times_at_once_is_one_effect(backend: Backend) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: backend.use(quantity=3, key="order-1"), range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert events_and_balance(backend) == (1, 97)


def test_one_key_for_two_uses_at_once_goes_to_the_first(backend: Backend) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda number: backend.use(quantity=1 + number % 2, key="order-1"), range(40)))
    won = {answer.data for answer in answers if answer.status_code == 200}
    assert len(won) == 1
    assert Counter(answer.status_code for answer in answers) == {200: 20, 409: 20}
    assert events_and_balance(backend)[0] == 1


def test_racing_for_the_last_credits_ends_at_exactly_nothing(backend: Backend) -> None:
    keys = [f"order-{number}" for number in range(130)] + [f"order-{number}" for number in range(0, 130, 3)]
    random.Random(11).shuffle(keys)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = dict(zip(keys, threads.map(lambda key: backend.use(key=key).status_code, keys), strict=True))
    assert set(answers.values()) <= {200, 402}
    assert events_and_balance(backend) == (100, 0)


def test_a_lock_that_is_held_too_long_is_503_without_effect(backend: Backend) -> None:
    with backend.app.app_context():
        holder = db.engine.connect()
        holder.execute(text("select 1 from credit_accounts for update"))
        try:
            answer = backend.use(key="order-1")
        finally:
            holder.rollback()
            holder.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert events_and_balance(backend) == (0, 100)
    assert backend.use(key="order-1").status_code == 200


def events_and_balance(backend: Backend) -> tuple[int, int]:
    with backend.app.app_context():
        events = db.session.execute(select(func.count()).select_from(UsageEvent)).scalar_one()
        return events, balance(backend.team_id).available
