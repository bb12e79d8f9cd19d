"""A process that is killed at the points of a unit, one after another: all of the unit is there, or nothing.

For each kind of event that moves money the points are counted first: every statement, every commit and every call to
Stripe. Then a worker comes for each of them (`points_of` says for which in a short run), takes the event over from the one
before it, and is killed further on. After each kill everything in the database is compared with what stood there before,
and with what stands there in the end. The same for requests that write, whose caller does not know what became of them and
asks again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.billing.models import Checkout, Customer, Payment
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.models import CreditEntry, CreditGrant
from portal.credits.queries import balance
from portal.exports import making
from tests.cast import Cast
from tests.conftest import empty_tables
from tests.crashing import POINTS_MIN, Books, Crasher, crasher, kill_everywhere, nothing_is_locked, points_of
from tests.exporting import ask, fetch, newest, workbook_rows
from tests.metered import at_stripe, reports
from tests.metered import report as report_use
from tests.purchases import BUSINESS_CREDITS, make_buyer, paid_grants, states, violations
from tests.refund_desk import RefundDesk
from tests.stage import Stage
from tests.web.api.backend import backend_of
from tests.web.billing.test_history import NOON, keep, payment
from tests.worker_process import until

PAID = 29_900
__all__ = ["crasher"]


@dataclass(frozen=True)
class Flow:
    """An event, and what must have come of it in the end."""

    prepare: Callable[[Cast, Stage], dict[str, Any]]
    check: Callable[[Cast], object]


def _only(stage: Stage, kind: str) -> dict[str, Any]:
    return next(event for event in stage.new_events() if event["type"] == kind)


def _subscription(kind: str) -> Callable[[Cast, Stage], dict[str, Any]]:
    def prepare(cast: Cast, stage: Stage) -> dict[str, Any]:
        stage.subscribe(cast.owner, cast.team_id, "business")
        return _only(stage, kind)

    return prepare


def _renewal(cast: Cast, stage: Stage) -> dict[str, Any]:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    stage.advance(timedelta(days=32))
    ours = db.session.execute(select(Customer.stripe_id)).scalar_one()
    db.session.rollback()
    paid = [event for event in stage.new_events() if event["type"] == "invoice.paid"]
    return next(event for event in paid if event["data"]["object"]["customer"] == ours)  # earlier stories renew too


def _bundle(kind: str) -> Callable[[Cast, Stage], dict[str, Any]]:
    def prepare(cast: Cast, stage: Stage) -> dict[str, Any]:
        stage.subscribe(cast.owner, cast.team_id, "business")
        stage.deliver_all()
        stage.buy_bundle(cast.owner, cast.team_id)
        return _only(stage, kind)

    return prepare


def _granted(*amounts: int) -> Callable[[Cast], object]:
    def check(cast: Cast) -> None:
        assert paid_grants(cast.team_id) == list(amounts)

    return check


def _bundled(cast: Cast) -> None:
    query = select(CreditGrant.amount).where(CreditGrant.team_id == cast.team_id, CreditGrant.kind == "bundle")
    assert list(db.session.execute(query).scalars()) == [1_000]


FLOWS = {
    "a subscription, by its checkout": Flow(_subscription("checkout.session.completed"), _granted(BUSINESS_CREDITS)),
    "a subscription, by its invoice": Flow(_subscription("invoice.paid"), _granted(BUSINESS_CREDITS)),
    "a renewal": Flow(_renewal, _granted(BUSINESS_CREDITS, BUSINESS_CREDITS)),
    "a bundle, by its checkout": Flow(_bundle("checkout.session.completed"), _bundled),
    "a bundle, by its payment": Flow(_bundle("payment_intent.succeeded"), _bundled),
}


@pytest.mark.parametrize("name", FLOWS)
def test_killed_at_every_point_of_an_event_all_of_it_is_there_or_nothing(
    cast: Cast, stage: Stage, crasher: Crasher, name: str
) -> None:
    flow = FLOWS[name]
    books = Books()
    assert stage.deliver(flow.prepare(cast, stage)) == 200
    kill_everywhere(crasher, books, name)
    assert states() <= {"done", "ignored"}
    flow.check(cast)
    assert violations() == []


def test_killed_at_every_point_of_a_refund_it_takes_its_credits_once(
    cast: Cast, stage: Stage, crasher: Crasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20,000 credits 15,000 were spent: half of the money back is 5,000 of what is left, and a debt of 5,000."""
    desk = RefundDesk.open(stage, monkeypatch)
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    with unit_of_work():
        ledger.spend(cast.team_id, 15_000, "usage:before")
    desk.refund(str(intent), PAID // 2)
    assert stage.deliver(desk.told[-1]) == 200
    kill_everywhere(crasher, Books(), "a refund", refunds=list(desk.refunds.values()))
    left = balance(cast.team_id)
    assert (left.available, left.debt) == (0, 5_000)
    assert violations() == []


def test_killed_at_every_point_of_reporting_a_use_it_is_taken_once(cast: Cast, app: Flask, crasher: Crasher) -> None:
    """The backend has no answer and sends the same again, until it has one."""
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    headers = {
        "Authorization": f"Bearer {backend.secret}",
        "Idempotency-Key": "one",
        "Content-Type": "application/json",
    }
    job = {"path": "/api/v1/usage", "data": json.dumps({"meter": "send_email", "quantity": 3}), "headers": headers}
    kills = 0
    while (answer := crasher.run("request", kill_at=kills, **job)) is None:
        kills += 1
        entries = db.session.execute(select(CreditEntry.amount).where(CreditEntry.kind == "spent")).scalars().all()
        assert entries in ([], [-3])
        db.session.rollback()
    assert answer["done"] == 200
    assert kills >= 8
    assert backend.credits()["available"] == 997
    assert violations() == []


def test_killed_at_every_point_of_beginning_a_checkout_there_is_one_customer_and_one_page(
    app: Flask, stage: Stage, crasher: Crasher
) -> None:
    """The person presses the button again: Stripe knows the team once, and of the pages that somebody was sent to one may
    be paid. A page of which the process died before it knew the address is nobody's, and runs out.
    """
    teams: list[str] = []
    answer = None
    while answer is None:
        person, team_id = make_buyer(app, f"Team {len(teams)}")
        cookie = person.client.get_cookie("turnpike")
        assert cookie
        headers = {"Cookie": f"turnpike={cookie.value}", "Content-Type": "application/x-www-form-urlencoded"}
        job = {"path": f"/teams/{team_id}/checkout", "data": "plan=business&interval=month", "headers": headers}
        answer = crasher.run("request", kill_at=len(teams), **job)
        stage.begin_checkout(person, team_id, "business")
        teams.append(team_id)

    assert answer["done"] == 303
    assert len(teams) > 10
    customers = stage.stripe("GET", "/v1/customers", limit=100)["data"]
    ours = Counter(one["metadata"].get("team_id") for one in customers)
    assert [ours[team_id] for team_id in teams] == [1] * len(teams)
    known = set(db.session.execute(select(Checkout.stripe_id)).scalars())
    for customer in customers:
        if customer["metadata"].get("team_id") in teams:
            pages = stage.stripe("GET", "/v1/checkout/sessions", customer=customer["id"])["data"]
            assert len([page for page in pages if page["status"] == "open" and page["id"] in known]) == 1


def test_killed_at_every_point_of_a_report_of_use_stripe_counts_it_once(
    app: Flask, cast: Cast, stage: Stage, crasher: Crasher
) -> None:
    """Each worker is killed a point further on than the one before it; then another takes over what that has left."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    backend = backend_of(app, cast.team_id, cast.owner)
    for number, point in enumerate(points_of("report of use"), 1):
        assert backend.use("api_calls", 7).status_code == 200
        stage.advance(timedelta(minutes=30))
        answer = crasher.run("report", kill_at=point)
        until(nothing_is_locked, "the database has noticed")
        report_use()
        stage.advance(timedelta(minutes=1))  # what was sent and not answered is due again
        report_use()
        assert at_stripe(stage, cast.team_id) == 7 * number, f"point {point}"
        assert {one.state for one in reports(cast.team_id)} == {"delivered"}
        if answer is not None:
            break
    assert point >= POINTS_MIN
    assert answer is not None
    assert {name.split()[0] for name in answer["points"]} == {"before", "after"}
    assert any("meter_events" in name for name in answer["points"])


def test_killed_at_every_point_an_export_goes_on_and_is_whole(app: Flask, cast: Cast, crasher: Crasher) -> None:
    """Before each statement that writes and around each commit. There is no file before the last commit."""
    keep(*[payment(cast.team_id, amount=number, occurred_at=NOON + timedelta(hours=number)) for number in (3, 2, 1)])
    writing = ("before INSERT", "before UPDATE", "before DELETE", "before commit", "after commit")
    for point in count():
        assert ask(cast.owner, cast.team_id, "payments", "xlsx") == 303
        undisturbed = crasher.run("export", kill_at=point, among=writing, rows_a_step=2)
        until(nothing_is_locked, "the database has noticed")
        file = f"/teams/{cast.team_id}/exports/{newest().id}/file"
        assert cast.owner.client.get(file).status_code == (200 if newest().state == "done" else 404)
        making.drain(100)
        assert [row[4] for row in workbook_rows(fetch(cast.owner, newest()))[1:]] == [0.03, 0.02, 0.01], point
        if undisturbed is not None:
            break
        empty_tables(app, "exports", "export_parts", "notifications", "audit_entries")
    assert point >= 12
