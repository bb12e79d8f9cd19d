"""From the pricing page to credits: what a team gets, whatever order and number Stripe's events arrive in."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from portal.billing.models import Checkout, Invoice, Subscription
from portal.core import clock
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.credits.models import CreditEntry, CreditGrant
from portal.credits.queries import balance
from portal.webhooks import apply
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.conftest import empty_tables
from tests.stage import DECLINED, Stage

CORE_EVENTS = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "invoice.paid",
    "checkout.session.completed",
)


def grants(team_id: str, free: bool = False) -> list[CreditGrant]:
    """The team's grants for what it paid, or its free plan's."""
    query = select(CreditGrant).where(CreditGrant.team_id == team_id).order_by(CreditGrant.id)
    return [grant for grant in db.session.execute(query).scalars() if (":free:" in grant.cause_key) == free]


def subscription(team_id: str) -> Subscription:
    return db.session.execute(select(Subscription).where(Subscription.team_id == team_id)).scalar_one()


def test_business_is_active_and_has_its_credits(cast: Cast, stage: Stage) -> None:
    checkout_id = stage.subscribe(cast.owner, cast.team_id, "business")
    waiting = cast.owner.client.get(f"/teams/{cast.team_id}/checkout/{checkout_id}").get_data(as_text=True)
    assert "on its way" in waiting
    assert grants(cast.team_id) == []

    stage.deliver_all()

    mine = subscription(cast.team_id)
    assert (mine.status, mine.plan_key, mine.unit_amount, mine.duplicate) == ("active", "business", 29900, False)
    assert balance(cast.team_id).available == 20_000
    invoice = db.session.execute(select(Invoice)).scalar_one()
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == ("paid", 29900, "subscription_create")
    done = cast.owner.client.get(f"/teams/{cast.team_id}/checkout/{checkout_id}/status?seen=waiting")
    assert "You are on Business now" in done.get_data(as_text=True)
    page = cast.member.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Business" in page
    assert "20,000" in page
    assert "ending in" in page


def test_pro_is_a_trial_whose_credits_end_with_it(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    mine = subscription(cast.team_id)
    assert mine.status == "trialing"
    assert mine.trial_end is not None
    assert [(grant.amount, grant.expires_at) for grant in grants(cast.team_id)] == [(5_000, mine.trial_end)]


def test_a_declined_card_leaves_nothing_behind_and_the_next_card_works(cast: Cast, stage: Stage) -> None:
    address = stage.begin_checkout(cast.owner, cast.team_id, "business")
    refused = stage.pay(address, DECLINED)
    assert refused.status_code == 402
    stage.deliver_all()
    assert db.session.execute(select(Subscription)).first() is None
    assert db.session.execute(select(Invoice)).first() is None
    assert grants(cast.team_id) == []
    assert stage.pay(address).status_code == 303
    stage.deliver_all()
    assert balance(cast.team_id).available == 20_000


def rows_of(team_id: str) -> dict[str, Any]:
    """The team's final rows without what tells only how often and when they were written."""
    hidden = {"id", "gen", "synced_at", "created_at", "completed_at", "as_of", "at", "subscription_id", "grant_id"}
    found: dict[str, Any] = {}
    tables = (
        "customers", "checkouts", "subscriptions", "subscription_items", "invoices", "payments",
        "payment_methods", "paid_periods", "credit_accounts", "credit_grants", "credit_entries",
    )  # fmt: skip
    for table in tables:
        query = select(text("*")).select_from(text(table)).where(text("team_id = :team"))
        rows = db.session.execute(query, {"team": team_id}).mappings()
        kept = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
        found[table] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    return found


def test_all_orders_of_the_four_events_end_in_the_same_rows(cast: Cast, stage: Stage) -> None:
    """One purchase; its events are replayed from scratch in each of the 24 orders, applied one by one."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = {event["type"]: event for event in stage.new_events()}
    events.setdefault("customer.subscription.updated", _as_updated(events["customer.subscription.created"]))
    results = []
    for order in itertools.permutations(CORE_EVENTS):
        _forget_effects(stage.app)
        for name in order:
            assert stage.deliver(events[name]) == 200
            apply.drain()  # without the schedule, which would grant the free month now and then
        results.append(rows_of(cast.team_id))
        assert {grant.amount for grant in grants(cast.team_id)} == {20_000}
    assert len(results) == 24
    for result in results:
        assert result == results[0]


def _as_updated(created: dict[str, Any]) -> dict[str, Any]:
    return {**created, "id": created["id"] + "u", "type": "customer.subscription.updated"}


def _forget_effects(app: Flask) -> None:
    """Empty what events bring about (as the owner of the tables; the app itself may not) and keep the purchase."""
    empty_tables(
        app,
        "stripe_events", "subscription_items", "subscriptions", "invoices", "payments", "payment_methods", "paid_periods",
        "usage_daily", "usage_events", "usage_keys", "credit_reversals", "credit_consumptions", "credit_entries", "credit_grants",
        "credit_accounts", "alarms",
    )  # fmt: skip
    db.session.execute(text("update checkouts set state = 'open', completed_at = null, subscription_stripe_id = null"))
    db.session.commit()
    db.session.remove()


def test_the_same_event_fifty_times_at_once_is_one_row_and_one_effect(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    paid = next(event for event in events if event["type"] == "invoice.paid")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: stage.deliver(paid), range(50)))
    assert set(statuses) == {200}
    assert len(db.session.execute(select(StripeEvent)).all()) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _drain_in_thread(stage), range(4)))
    assert len(grants(cast.team_id)) == 1
    assert balance(cast.team_id).available == 20_000
    assert stage.deliver(paid) == 200
    stage.drain()
    paid_entries = select(CreditEntry).where(CreditEntry.cause_key.like("period:sub%"))
    assert len(db.session.execute(paid_entries).all()) == 1


def _drain_in_thread(stage: Stage) -> None:
    with stage.app.app_context():
        stage.drain()


def test_a_year_is_paid_once_and_granted_month_by_month(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business", "year")
    stage.deliver_all()
    anchor = subscription(cast.team_id).current_period_start
    assert anchor is not None
    for month in range(1, 12):
        assert len(grants(cast.team_id)) == month
        assert balance(cast.team_id).available == 20_000
        now, until = clock.now(), grants(cast.team_id)[-1].expires_at
        db.session.remove()
        assert until is not None
        stage.advance(until - now + timedelta(seconds=1))
        stage.drain()
    found = grants(cast.team_id)
    assert len(found) == 12
    assert all(before.expires_at == after.effective_at for before, after in itertools.pairwise(found))
    assert found[-1].expires_at == subscription(cast.team_id).current_period_end
    assert balance(cast.team_id).available == 20_000


def test_the_free_plan_grants_every_month_until_a_subscription_lives(cast: Cast, stage: Stage) -> None:
    stage.drain()
    assert balance(cast.team_id).available == 100
    db.session.remove()
    stage.advance(timedelta(days=32))
    stage.drain()
    assert balance(cast.team_id).available == 100
    assert len(grants(cast.team_id, free=True)) == 2
    db.session.remove()
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    assert balance(cast.team_id).available == 20_000
    assert {grant.state for grant in grants(cast.team_id, free=True)} == {"ended"}


def test_a_second_subscription_is_refused(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    answer = cast.admin.client.post(f"/teams/{cast.team_id}/checkout", data={"plan": "pro", "interval": "month"})
    assert answer.status_code == 409
    assert "already has a plan" in answer.get_data(as_text=True)


def test_a_new_checkout_closes_the_open_one(cast: Cast, stage: Stage) -> None:
    first = stage.begin_checkout(cast.owner, cast.team_id, "business")
    second = stage.begin_checkout(cast.admin, cast.team_id, "pro")
    assert stage.pay(first).status_code >= 400
    assert stage.pay(second).status_code == 303
    stage.deliver_all()
    assert subscription(cast.team_id).plan_key == "pro"
    states = {row.plan_key: row.state for row in db.session.execute(select(Checkout.plan_key, Checkout.state))}
    assert states == {"business": "expired", "pro": "complete"}


def test_two_paid_checkouts_raise_an_alarm_and_the_later_grants_nothing(cast: Cast, stage: Stage) -> None:
    """Our own bookkeeping cannot let this happen; a page made elsewhere on the Stripe account can."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    customer = subscription(cast.team_id)
    price = stage.stripe("GET", "/v1/subscriptions/" + customer.stripe_id)["items"]["data"][0]["price"]["id"]
    page = stage.stripe(
        "POST",
        "/v1/checkout/sessions",
        **{
            "mode": "subscription",
            "customer": stage.stripe("GET", "/v1/subscriptions/" + customer.stripe_id)["customer"],
            "line_items[0][price]": price,
            "line_items[0][quantity]": 1,
            "success_url": "http://127.0.0.1:8000/done",
        },
    )
    assert stage.pay(page["url"]).status_code == 303
    stage.deliver_all()
    both = db.session.execute(select(Subscription.duplicate).order_by(Subscription.started_at, Subscription.id)).all()
    assert sorted(row.duplicate for row in both) == [False, True]
    assert len(grants(cast.team_id)) == 1
    assert db.session.execute(select(Alarm.kind)).scalars().all() == ["second_subscription"]


def test_an_event_for_a_customer_we_do_not_know_yet_waits_for_it(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    db.session.execute(text("update customers set stripe_id = stripe_id || '_hidden'"))
    db.session.commit()
    for event in events:
        stage.deliver(event)
    stage.drain()
    states = set(db.session.execute(select(StripeEvent.state)).scalars())
    assert states <= {"parked", "ignored", "done"}
    assert "parked" in states
    db.session.execute(text("update customers set stripe_id = replace(stripe_id, '_hidden', '')"))
    db.session.commit()
    db.session.remove()
    stage.advance(timedelta(minutes=1))
    stage.drain()
    assert balance(cast.team_id).available == 20_000
    assert set(db.session.execute(select(StripeEvent.state)).scalars()) <= {"ignored", "done"}


@pytest.mark.parametrize("type_name", ["customer.created", "price.created", "made.up.tomorrow"])
def test_types_we_do_not_apply_are_kept_and_ignored(stage: Stage, type_name: str) -> None:
    body = {
        "id": f"evt_{type_name.replace('.', '')}",
        "object": "event",
        "type": type_name,
        "livemode": False,
        "created": 1_790_000_000,
        "data": {"object": {"id": "obj_1"}},
    }
    assert stage.deliver(body) == 200
    assert db.session.execute(select(StripeEvent.state)).scalar_one() == "ignored"
