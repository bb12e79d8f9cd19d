"""Impatient people: twenty buttons pressed at once, for one team and for two."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.accounts.models import User
from portal.billing import card_testing
from portal.billing.gateway import InsideTransactionError, gateway
from portal.billing.models import Checkout
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditGrant
from tests import switches
from tests.cast import Cast, signed_in
from tests.purchases import BUSINESS_CREDITS, paid_grants, violations
from tests.stage import Stage

AT_ONCE = 20
BUSINESS = {"plan": "business", "interval": "month"}


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """All twenty reach the place where they contend, past the limits that would let five through."""
    switches.without_limits(monkeypatch)
    monkeypatch.setattr(card_testing, "OPEN_OR_DECLINED_MAX", 1_000)


def press_at_once(app: Flask, presses: list[tuple[str, str]], form: dict[str, str] = BUSINESS) -> list[Any]:
    """Press a button for each (user, team), all at the same moment; the answers in the same order."""
    users = {user.id: user for user in db.session.execute(select(User)).scalars()}
    clients = [(signed_in(app, users[user_id]), team_id) for user_id, team_id in presses]
    db.session.remove()
    start = Barrier(len(clients))

    def press(pair: tuple[Any, str]) -> Any:
        client, team_id = pair
        start.wait(60)
        return client.post(f"/teams/{team_id}/checkout", data=form)

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(press, clients))


def customers_of(stage: Stage, team_id: str) -> list[dict[str, Any]]:
    found = stage.stripe("GET", "/v1/customers", limit=100)["data"]
    return [customer for customer in found if customer["metadata"].get("team_id") == team_id]


def open_pages(stage: Stage, customer_id: str) -> list[str]:
    pages = stage.stripe("GET", "/v1/checkout/sessions", customer=customer_id, status="open", limit=100)["data"]
    return [page["url"] for page in pages]


def pay_everything(stage: Stage, answers: list[Any]) -> int:
    """Try to pay every page that anybody was sent to; returns how many were taken."""
    addresses = [answer.location for answer in answers if answer.status_code == 303]
    return sum(stage.pay(address).status_code == 303 for address in addresses)


def test_twenty_presses_at_once_are_one_customer_and_one_payable_page(cast: Cast, stage: Stage) -> None:
    buyers = (cast.owner.user_id, cast.admin.user_id, cast.billing.user_id)
    answers = press_at_once(stage.app, [(buyers[number % 3], cast.team_id) for number in range(AT_ONCE)])

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[303] >= 1
    assert set(statuses) <= {303, 409}, statuses
    [customer] = customers_of(stage, cast.team_id)
    assert len(open_pages(stage, customer["id"])) == 1
    current = select(Checkout.id).where(Checkout.team_id == cast.team_id, Checkout.state.in_(("starting", "open")))
    assert len(db.session.execute(current).all()) == 1
    db.session.remove()

    assert pay_everything(stage, answers) == 1
    stage.deliver_all()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert db.session.execute(select(Alarm.kind)).scalars().all() == []
    assert violations() == []


def test_two_teams_at_once_do_not_stand_in_each_others_way(cast: Cast, stage: Stage) -> None:
    pairs = [(cast.owner.user_id, cast.team_id), (cast.outsider.user_id, cast.other_team_id)]
    answers = press_at_once(stage.app, pairs * (AT_ONCE // 2))
    for number, (_, team_id) in enumerate(pairs):
        mine = answers[number::2]
        assert {answer.status_code for answer in mine} <= {303, 409}
        assert len(customers_of(stage, team_id)) == 1
        assert pay_everything(stage, mine) == 1
    stage.deliver_all()
    assert [paid_grants(team_id) for _, team_id in pairs] == [[BUSINESS_CREDITS]] * 2
    assert db.session.execute(select(Alarm.kind)).scalars().all() == []


def test_s69_twenty_presses_of_one_form_are_one_order_and_one_payable_page(cast: Cast, stage: Stage) -> None:
    """Nobody of them is refused: all are sent to the same page, and paying it grants once."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    form = {"bundle": "credits_1000", "order": new_id("ord")}
    answers = press_at_once(stage.app, [(cast.owner.user_id, cast.team_id)] * AT_ONCE, form)

    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.location for answer in answers}) == 1
    [customer] = customers_of(stage, cast.team_id)
    assert len(open_pages(stage, customer["id"])) == 1
    assert db.session.execute(select(func.count(Checkout.id)).where(Checkout.purpose == "bundle")).scalar_one() == 1
    db.session.remove()
    pay_everything(stage, answers)
    stage.deliver_all()
    grants = select(CreditGrant.amount).where(CreditGrant.kind == "bundle")
    assert db.session.execute(grants).scalars().all() == [1_000]
    paid = stage.stripe("GET", "/v1/payment_intents", customer=customer["id"], limit=100)["data"]
    assert [intent["status"] for intent in paid if intent["metadata"].get("bundle")] == ["succeeded"]
    assert violations() == []


def test_the_gateway_refuses_to_be_called_inside_a_transaction(app: Flask) -> None:
    with unit_of_work() as session:
        session.execute(select(User.id))
        with pytest.raises(InsideTransactionError):
            gateway().customer("cus_1")
