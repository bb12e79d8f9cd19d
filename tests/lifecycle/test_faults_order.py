"""Answers that overtake each other: what was asked for earlier and written later must not bring old state back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.models import Subscription
from portal.core.database import db
from portal.webhooks import apply
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, nothing_waits, paid_grants, states
from tests.stage import Stage
from tests.worker_process import SECONDS_MAX, until


class LateAnswer:
    """Holds the first answer about a subscription back until it is let go; later ones pass it."""

    def __init__(self, original: Callable[..., dict[str, Any]]) -> None:
        self._original = original
        self._first = threading.Lock()
        self.asked = 0
        self.fetched, self.let_go = threading.Event(), threading.Event()

    def answer(self, gateway: Gateway, stripe_id: str) -> dict[str, Any]:
        self.asked += 1
        answer = self._original(gateway, stripe_id)
        if self._first.acquire(blocking=False):
            self.fetched.set()
            assert self.let_go.wait(SECONDS_MAX)
        return answer


def test_an_older_answer_that_lands_last_is_refused_and_asked_for_again(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    stripe_id = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    late = LateAnswer(Gateway.subscription)

    def subscription(self: Gateway, asked: str) -> dict[str, Any]:
        return late.answer(self, asked)

    monkeypatch.setattr(Gateway, "subscription", subscription)

    _change(stage, stripe_id, "true")
    slow = threading.Thread(target=_apply, args=(stage,))
    slow.start()
    assert late.fetched.wait(SECONDS_MAX)
    _change(stage, stripe_id, "false")
    _apply(stage)
    assert _cancel_at(stripe_id) is None
    late.let_go.set()
    slow.join(SECONDS_MAX)

    until(nothing_waits)
    assert late.asked == 3, "the late one was not asked for again"
    assert _cancel_at(stripe_id) is None
    assert stage.stripe("GET", f"/v1/subscriptions/{stripe_id}")["cancel_at_period_end"] is False
    assert states() == {"done", "ignored"}
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def _change(stage: Stage, stripe_id: str, ends: str) -> None:
    stage.stripe("POST", f"/v1/subscriptions/{stripe_id}", cancel_at_period_end=ends)
    for event in stage.new_events():
        assert stage.deliver(event) == 200


def _apply(stage: Stage) -> None:
    with stage.app.app_context():
        apply.drain()


def _cancel_at(stripe_id: str) -> object:
    found = db.session.execute(select(Subscription.cancel_at).where(Subscription.stripe_id == stripe_id)).scalar_one()
    db.session.rollback()
    return found
