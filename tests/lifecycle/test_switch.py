"""Billing switched off and on again: events are held meanwhile, and applied as if nothing had been."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.cli import doctor
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.rollout import Rollout
from portal.core.unit_of_work import unit_of_work
from portal.credits.queries import balance
from portal.webhooks import apply, hold
from portal.webhooks.claim import claim
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.models import StripeEvent
from tests import switches
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, forget_effects, paid_grants, rows_of, states, violations
from tests.stage import Stage


def off(app: Flask) -> Any:
    return switches.settings(app, billing_enabled=False)


def outcome(team_id: str) -> tuple[Any, ...]:
    return rows_of(team_id), paid_grants(team_id), balance(team_id).available, violations(), states()


@pytest.mark.lifecycle
def test_each_event_held_and_applied_later_comes_to_the_same(cast: Cast, stage: Stage, app: Flask) -> None:
    """One event after another is the one that came while billing was off; at last all of them did."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    for event in events:
        assert stage.deliver(event) == 200
    stage.drain()
    never_off = outcome(cast.team_id)
    assert never_off[1] == [BUSINESS_CREDITS]

    applied = [event for event in events if event["type"] in HANDLERS]
    for held in ([event] for event in applied):
        assert _with_held(stage, events, held) == len(held)
        assert outcome(cast.team_id) == never_off, held[0]["type"]
    assert _with_held(stage, events, applied) == len(applied)
    assert outcome(cast.team_id) == never_off


def _with_held(stage: Stage, events: list[dict[str, Any]], held: list[dict[str, Any]]) -> int:
    """Deliver `events` anew, those of `held` while billing is off; returns how many were held."""
    forget_effects(stage.app)
    for event in events:
        if event in held:
            with off(stage.app):
                assert stage.deliver(event) == 200
                assert stage.deliver(event) == 200
                stage.drain()
        else:
            assert stage.deliver(event) == 200
            stage.drain()
    count = len(db.session.execute(select(StripeEvent).where(StripeEvent.state == "held")).all())
    # Where one was applied in between, billing was on and let the held ones go.
    released = len(db.session.execute(select(StripeEvent).where(StripeEvent.released_at.is_not(None))).all())
    db.session.rollback()
    stage.drain()
    return count + released


@pytest.mark.parametrize("event_type", HANDLERS)
def test_whatever_would_be_applied_is_held(stage: Stage, app: Flask, event_type: str) -> None:
    event = _event(event_type)
    with off(app):
        assert stage.deliver(event) == 200
        assert apply.drain() == 0
    assert states() == {"held"}
    hold.release_held()
    assert states() == {"pending"}


def test_off_the_inbox_rests_also_with_what_came_before(cast: Cast, stage: Stage, app: Flask) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        assert stage.deliver(event) == 200
    with off(app):
        stage.drain()
        assert paid_grants(cast.team_id) == []
        assert "pending" in states()
    stage.drain()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def test_held_events_are_applied_in_the_order_they_came_and_before_later_ones(
    stage: Stage, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the worker was restarted at first: what the web process still holds goes its way too."""
    order: list[str] = []
    monkeypatch.setattr(apply, "process", lambda event: order.append(event.event_id))
    monkeypatch.setattr(hold, "BATCH", 2)
    sent = [_event("invoice.paid") for _ in range(6)]
    with off(app):
        for event in sent[:3]:
            stage.deliver(event)
    stage.deliver(sent[3])
    apply.drain()
    with off(app):
        for event in sent[4:]:
            stage.deliver(event)
    apply.drain()
    assert order == [event["id"] for event in sent]


def test_an_event_held_for_days_still_has_its_day_of_grace(stage: Stage, app: Flask) -> None:
    """Its customer is unknown at first, as it may be for any event; held time is not waiting time."""
    with off(app):
        stage.deliver(_event("customer.subscription.updated", "sub_none"))
    long_ago = {"received_at": StripeEvent.received_at - timedelta(days=3)}
    with unit_of_work() as session:
        session.execute(update(StripeEvent).values(long_ago), execution_options={"synchronize_session": False})
    hold.release_held()
    claimed = claim()
    assert claimed is not None
    assert claimed.waiting_for < timedelta(minutes=1)


def test_events_of_teams_outside_the_roll_out_are_applied(cast: Cast, stage: Stage, app: Flask) -> None:
    """What is true at Stripe does not depend on who may see it: the team may have paid before it was taken out."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    with switches.settings(app, billing_rollout=Rollout(0)):
        stage.deliver_all()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert db.session.execute(select(Alarm)).all() == []


def test_the_doctor_shows_the_switch(app: Flask) -> None:
    with off(app):
        assert "OFF" in doctor._billing()[2]
    with switches.settings(app, billing_rollout=Rollout(25)):
        assert doctor._billing() == (True, "billing", "on for 25% of teams")


def test_s27_the_doctor_warns_when_everybody_may_seem_to_come_from_the_proxy(app: Flask) -> None:
    with switches.settings(app, env="production", proxy_hops=0):
        assert "WARNING" in doctor._proxy()[2]
    for fine in ({"env": "production", "proxy_hops": 1}, {"env": "development", "proxy_hops": 0}):
        with switches.settings(app, **fine):
            assert "WARNING" not in doctor._proxy()[2]


def _event(event_type: str, object_id: str = "in_none") -> dict[str, Any]:
    return {
        "id": new_id("evt"),
        "object": "event",
        "type": event_type,
        "created": 1_790_000_000,
        "livemode": False,
        "data": {"object": {"id": object_id, "object": "x"}},
    }
