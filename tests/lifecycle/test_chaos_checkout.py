"""Each fault that a call to Stripe can meet while somebody begins to pay: they are told, try again, and pay once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.billing import gateway as gateway_module
from portal.billing.models import Customer, Subscription
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.sandbox.chaos.rules import CALL_FAULTS
from tests.cast import Cast
from tests.purchases import BUSINESS_CREDITS, paid_grants, states, violations
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble
from tests.web.api.backend import Backend, backend_of, set_up_portal

MAKING = ("POST /v1/customers", "POST /v1/checkout/sessions")
# What passes with nobody noticing: it takes a moment longer.
UNNOTICED = {"delay", "conflict"}


def press(cast: Cast) -> TestResponse:
    return cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data={"plan": "business", "interval": "month"})


@pytest.mark.parametrize("call", MAKING)
@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_a_checkout_that_meets_a_fault_is_begun_again_and_paid_once(
    cast: Cast, stage: Stage, fault: str, call: str
) -> None:
    with trouble(stage, call_fault(fault, call, milliseconds=20)):
        met = press(cast)
        assert struck(stage) == 1
        page = met.get_data(as_text=True)
        if fault in UNNOTICED:
            assert met.status_code == 303, page
        else:
            assert met.status_code == 502
            assert "Stripe cannot be reached right now" in page
            assert "Nothing was charged" in page
        again = press(cast)
    assert again.status_code == 303, "the fault has healed"
    assert stage.pay(str(again.location)).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)


def assert_paid_once(cast: Cast, stage: Stage, *also_paid: int) -> None:
    """One customer, one subscription, one payment and one grant, and the mirror says what Stripe says.

    `also_paid` are the amounts of what else was bought.
    """
    customer = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == cast.team_id)).scalar_one()
    assert customers_of(stage, cast.team_id) == [customer]
    (subscription,) = stage.stripe("GET", "/v1/subscriptions", customer=customer)["data"]
    ours = db.session.execute(select(Subscription)).scalar_one()
    assert (ours.stripe_id, ours.status, ours.plan_key) == (subscription["id"], subscription["status"], "business")
    charged = stage.stripe("GET", "/v1/payment_intents", customer=customer)["data"]
    assert sorted(one["amount_received"] for one in charged) == sorted([ours.unit_amount or 0, *also_paid])
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert states() <= {"done", "ignored"}
    # An event that a story has not delivered while hours went by was fetched, which is worth an alarm.
    assert set(db.session.execute(select(Alarm.kind)).scalars()) <= {"missed_events"}
    assert violations() == []


def customers_of(stage: Stage, team_id: str) -> list[str]:
    """The team's customers at Stripe, those that nobody knows of included."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = stage.stripe("GET", "/v1/customers", limit=100, **more)
        found += page["data"]
        if not page["has_more"]:
            return [one["id"] for one in found if one["metadata"].get("team_id") == team_id]
        more = {"starting_after": found[-1]["id"]}


def test_while_stripe_fails_again_and_again_nothing_is_made_twice(cast: Cast, stage: Stage) -> None:
    """Each key keeps its 500, and behind each was a customer or a page: it is found, not made anew."""
    rules = [call_fault("error_after", call, times=2) for call in MAKING]
    with trouble(stage, *rules):
        answers = [press(cast).status_code for _ in range(4)]
    assert answers[-1] == 303
    address = str(press(cast).location)
    assert stage.pay(address).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)


def test_a_customer_nobody_heard_of_is_found_when_stripe_has_forgotten_the_key(cast: Cast, stage: Stage) -> None:
    with trouble(stage, call_fault("drop_after", "POST /v1/customers")):
        assert press(cast).status_code == 502
    stage.advance(timedelta(hours=25))
    assert stage.pay(str(press(cast).location)).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)


@pytest.mark.parametrize("call", MAKING)
@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_a_program_sends_the_same_key_again_and_gets_one_page(
    app: Flask, cast: Cast, stage: Stage, fault: str, call: str
) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    with trouble(stage, call_fault(fault, call, milliseconds=20)):
        met = _ask(backend, "/checkout-sessions", {"plan": "business", "interval": "month"})
        assert met.status_code == (200 if fault in UNNOTICED else 503)
        again = _ask(backend, "/checkout-sessions", {"plan": "business", "interval": "month"})
    assert again.status_code == 200
    assert stage.pay(again.get_json()["url"]).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)


def _ask(backend: Backend, path: str, fields: dict[str, Any]) -> TestResponse:
    headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": "one"}
    return backend.call("POST", path, json=fields, headers=headers)


@pytest.mark.parametrize("fault", CALL_FAULTS)
def test_the_customer_portal_opens_at_the_second_try(app: Flask, cast: Cast, stage: Stage, fault: str) -> None:
    set_up_portal(app)
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    backend, fields = (
        backend_of(app, cast.team_id, cast.owner),
        {"return_url": app.config["SETTINGS"].base_url + "/teams"},
    )
    for ask in (lambda: _open(cast), lambda: _ask(backend, "/portal-sessions", fields)):
        with trouble(stage, call_fault(fault, "POST /v1/billing_portal/sessions", milliseconds=20)):
            met, again = ask(), ask()
        assert again.status_code in (200, 303), again.get_data(as_text=True)
        assert met.status_code in ((200, 303) if fault == "delay" else (502, 503))
        if met.status_code == 502:
            assert "Nothing was charged and nothing has changed" in met.get_data(as_text=True)
    assert_paid_once(cast, stage)


def _open(cast: Cast) -> TestResponse:
    return cast.owner.client.post(f"/teams/{cast.team_id}/portal", data={"flow": "payment_method_update"})


@pytest.mark.parametrize("call", MAKING)
def test_an_answer_that_comes_after_we_have_given_up_does_no_harm(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """They press again while Stripe is still at the first one."""
    monkeypatch.setattr(gateway_module, "REQUEST_SECONDS", 1)
    gateway_module._gateway.cache_clear()
    try:
        with trouble(stage, call_fault("delay", call, milliseconds=1200)):
            assert press(cast).status_code == 502
            again = press(cast)
    finally:
        gateway_module._gateway.cache_clear()
    assert stage.pay(str(again.location)).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)


def test_rate_limits_are_told_and_over_in_a_second(cast: Cast, stage: Stage) -> None:
    with trouble(stage, rate_limit=1):
        answers = [press(cast) for _ in range(3)]
        assert 502 in [answer.status_code for answer in answers]
    again = press(cast)
    assert stage.pay(str(again.location)).status_code == 303
    stage.deliver_all()
    assert_paid_once(cast, stage)
