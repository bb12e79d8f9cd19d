"""One look at Stripe serves all events that ask for the same, and none that may tell of something newer."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.core.database import db
from portal.webhooks import apply
from portal.webhooks.claim import claim
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, forget_effects, nothing_waits, paid_grants, rows_of, states, violations
from tests.stage import Stage


@pytest.fixture
def bought(cast: Cast, stage: Stage) -> list[dict[str, Any]]:
    """The events of a purchase, of which none is delivered yet."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    return stage.new_events()


def of(events: list[dict[str, Any]], event_type: str) -> dict[str, Any]:
    return next(event for event in events if event["type"] == event_type)


def row(event: dict[str, Any]) -> StripeEvent:
    query = select(StripeEvent).where(StripeEvent.event_id == event["id"])
    found = db.session.execute(query, execution_options={"populate_existing": True}).scalar_one()
    db.session.rollback()
    return found


def test_a_purchase_told_at_once_comes_to_what_it_does_told_bit_by_bit(
    cast: Cast, stage: Stage, bought: list[dict[str, Any]]
) -> None:
    for event in bought:
        stage.deliver(event)
        stage.drain()
    bit_by_bit = rows_of(cast.team_id)
    tried = len([event for event in bought if row(event).state == "done"])
    forget_effects(stage.app)
    for event in bought:
        stage.deliver(event)
    looks = apply.drain()
    assert looks < tried
    assert rows_of(cast.team_id) == bit_by_bit
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert states() == {"done", "ignored"}
    assert violations() == []


def test_it_says_with_which_event_it_was_applied(stage: Stage, bought: list[dict[str, Any]]) -> None:
    finalized, paid = of(bought, "invoice.finalized"), of(bought, "invoice.paid")
    stage.deliver(finalized)
    stage.deliver(paid)
    assert apply.drain(1) == 1
    assert nothing_waits()
    assert row(paid).last_error == f"applied with {finalized['id']}"
    assert row(paid).finished_at is not None


def test_what_comes_after_the_look_is_looked_at_anew(
    stage: Stage, bought: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may tell of something that the look was too early for."""
    finalized, paid = of(bought, "invoice.finalized"), of(bought, "invoice.paid")
    look = Gateway.invoice

    def paid_meanwhile(self: Gateway, invoice_id: str) -> dict[str, Any]:
        monkeypatch.undo()
        found = look(self, invoice_id)
        assert stage.deliver(paid) == 200
        return found

    monkeypatch.setattr(Gateway, "invoice", paid_meanwhile)
    stage.deliver(finalized)
    assert apply.drain(1) == 1
    assert row(finalized).state == "done"
    assert row(paid).state == "pending"
    stage.drain()
    assert row(paid).state == "done"


def test_what_another_worker_has_is_left_to_it(stage: Stage, bought: list[dict[str, Any]]) -> None:
    stage.deliver(of(bought, "invoice.paid"))
    theirs = claim()
    assert theirs is not None
    stage.deliver(of(bought, "invoice.finalized"))
    assert apply.drain() == 1
    mine = row(of(bought, "invoice.paid"))
    assert (mine.state, mine.lease_token) == ("pending", theirs.lease_token)
    apply.process(theirs)
    assert nothing_waits()


def test_a_failed_look_settles_nothing(
    stage: Stage, bought: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Gateway, _invoice_id: str) -> dict[str, Any]:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Gateway, "invoice", broken)
    both = [of(bought, "invoice.finalized"), of(bought, "invoice.paid")]
    for event in both:
        stage.deliver(event)
    assert apply.drain(1) == 1
    assert [row(event).state for event in both] == ["pending", "pending"]
    assert [row(event).attempts for event in both] == [1, 0]
