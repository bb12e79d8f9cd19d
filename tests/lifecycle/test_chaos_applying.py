"""Each fault that a call to Stripe can meet while a worker applies an event: it is applied later, and once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.core.database import db
from portal.sandbox.chaos.rules import CALL_FAULTS
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.lifecycle.test_card_change import MASTERCARD, brand, change_card, mirrored_card, own_card, subscribed
from tests.lifecycle.test_chaos_checkout import assert_paid_once
from tests.purchases import nothing_waits, rows_of
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble

# More often than the client tries again by itself, so that the event has to.
TIMES = 4
LOOKS_MAX = 20
READS = (
    "GET /v1/subscriptions/*",
    "GET /v1/invoices/*",
    "GET /v1/invoice_payments*",
    "GET /v1/checkout/sessions/*",
    "GET /v1/payment_intents/*",
    "GET /v1/payment_methods/*",
    "GET /v1/customers/*",
)


def apply_all(stage: Stage) -> None:
    """Let the worker try, and try again as time goes by, until nothing waits."""
    for _ in range(LOOKS_MAX):
        stage.drain()
        if nothing_waits():
            break
        stage.advance(timedelta(minutes=10))
    assert nothing_waits(), db.session.execute(select(StripeEvent.type, StripeEvent.last_error)).all()


@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_reads_that_meet_a_fault_are_made_again_until_the_mirror_is_right(cast: Cast, stage: Stage, fault: str) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    with trouble(stage, *(call_fault(fault, read, TIMES, milliseconds=5) for read in READS)):
        for event in stage.new_events():
            assert stage.deliver(event) == 200
        apply_all(stage)
        assert struck(stage) >= TIMES
    assert_paid_once(cast, stage)


@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_a_new_card_is_made_to_pay_though_stripe_fails_at_it(cast: Cast, stage: Stage, fault: str) -> None:
    """The one change that a worker makes at Stripe: the plan's own card is replaced by the customer's new one."""
    plan = subscribed(cast, stage)
    change_card(cast, stage, MASTERCARD)
    with trouble(stage, call_fault(fault, "POST /v1/subscriptions/*", TIMES, milliseconds=5)):
        for event in stage.new_events():
            assert stage.deliver(event) == 200
        apply_all(stage)
        assert struck(stage) >= 1
    stage.deliver_all()
    assert brand(stage, own_card(stage, plan)) == "mastercard"
    assert mirrored_card() == own_card(stage, plan)
    assert_paid_once(cast, stage)


def test_what_is_right_does_not_depend_on_the_faults_met(cast: Cast, stage: Stage) -> None:
    """A third of all reads fails in every way at once; the rows are those of a quiet day."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    rules = [call_fault(fault, "GET /v1/*", None, chance=5, milliseconds=1) for fault in CALL_FAULTS]
    with trouble(stage, *rules, seed=11):
        for event in events:
            assert stage.deliver(event) == 200
        apply_all(stage)
        assert struck(stage) > 3
    troubled = rows_of(cast.team_id)
    db.session.rollback()
    for event in events:
        stage.deliver(event | {"id": f"{event['id']}_again"})
    stage.drain()
    assert rows_of(cast.team_id) == troubled
    assert_paid_once(cast, stage)
