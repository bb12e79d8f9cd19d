"""What a team is granted for what it paid when clocks, cancellations and late news get in the way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from portal.billing.models import Subscription
from portal.core import clock
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import jobs
from portal.credits.models import CreditGrant
from portal.credits.queries import balance
from portal.credits.storage import lock_account
from tests.cast import Cast, make_team_of, make_user
from tests.stage import Stage


def grants(team_id: str) -> list[CreditGrant]:
    query = select(CreditGrant).where(CreditGrant.team_id == team_id).order_by(CreditGrant.effective_at)
    return list(db.session.execute(query).scalars())


@pytest.mark.parametrize(("plan", "interval"), [("business", "month"), ("pro", "month"), ("business", "year")])
def test_a_period_paid_before_our_clock_says_that_it_began_is_granted(
    cast: Cast, stage: Stage, plan: str, interval: str
) -> None:
    """Stripe's clock may run a little ahead of ours, and news of a renewal may come before it."""
    stage.subscribe(cast.owner, cast.team_id, plan, interval)
    with unit_of_work():
        clock.advance(timedelta(seconds=-60))
    stage.deliver_all()
    assert balance(cast.team_id).available in (0, 100)
    with unit_of_work():
        clock.advance(timedelta(seconds=60))
    assert balance(cast.team_id).available == {"business": 20_000, "pro": 5_000}[plan]
    stage.drain()
    assert balance(cast.team_id).available == {"business": 20_000, "pro": 5_000}[plan]


def test_a_year_that_was_ended_early_is_granted_no_further_months(cast: Cast, stage: Stage) -> None:
    """Not by the schedule, and not by an event that Stripe repeats either."""
    stage.subscribe(cast.owner, cast.team_id, "business", "year")
    events = stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    stage.advance(timedelta(days=40))
    stage.drain()
    assert len(grants(cast.team_id)) == 2
    stage.stripe("DELETE", f"/v1/subscriptions/{ours}")
    stage.deliver_all()
    stage.advance(timedelta(days=40))
    stage.drain()
    paid = next(event for event in events if event["type"] == "invoice.paid")
    assert stage.deliver({**paid, "id": paid["id"] + "again"}) == 200
    stage.drain()
    assert len([grant for grant in grants(cast.team_id) if ":free:" not in grant.cause_key]) == 2


def test_nobody_is_given_credits_before_the_owner_has_confirmed_the_address(cast: Cast, stage: Stage) -> None:
    with unit_of_work():
        stranger = make_user("stranger@example.com")
        stranger.confirmed_at = None
        team = make_team_of(stranger, "Made up")
    stage.drain()
    assert balance(cast.team_id).available == 100
    assert grants(team.id) == []


def test_a_team_in_trouble_does_not_hold_up_the_credits_of_the_others(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lock_account

    def lock(team_id: str) -> None:
        if team_id == cast.team_id:
            db.session.execute(text("select 1 / 0"))
        real(team_id)

    monkeypatch.setattr("portal.credits.free_plan.lock_account", lock)
    jobs.enrol_free_teams()
    with pytest.raises(Exception, match="1 of 2"):
        jobs.grant_due_free_periods()
    db.session.remove()
    assert balance(cast.other_team_id).available == 100


def test_the_free_plan_comes_back_when_a_subscription_has_ended(cast: Cast, stage: Stage) -> None:
    """In the month it ended nothing more is free if that month's free credits were had before; the next begins anew."""
    stage.drain()
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    free = grants(cast.team_id)[0]
    assert free.expires_at is not None
    db.session.remove()
    stage.stripe("DELETE", f"/v1/subscriptions/{ours}")
    stage.deliver_all()
    stage.drain()
    assert [grant.amount for grant in grants(cast.team_id)] == [100, 20_000]
    left = free.expires_at - clock.now()
    db.session.remove()
    stage.advance(left + timedelta(seconds=1))
    stage.drain()
    newest = grants(cast.team_id)[-1]
    assert (newest.amount, newest.state, newest.effective_at) == (100, "live", free.expires_at)


def test_a_team_whose_first_free_month_begins_late_has_it_when_its_subscription_ends(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    assert [grant.amount for grant in grants(cast.team_id)] == [20_000]
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("DELETE", f"/v1/subscriptions/{ours}")
    stage.deliver_all()
    db.session.remove()
    stage.advance(timedelta(seconds=15))
    stage.drain()
    assert sorted(grant.amount for grant in grants(cast.team_id)) == [100, 20_000]


def test_a_price_in_a_currency_of_large_numbers_is_kept(cast: Cast) -> None:
    """Ten million rupiah are a thousand million of its smallest unit."""
    with unit_of_work() as session:
        for table, column in (
            ("invoices", "total"),
            ("subscriptions", "unit_amount"),
            ("paid_periods", "credits_monthly"),
        ):
            kind = session.execute(
                text("select data_type from information_schema.columns where table_name = :t and column_name = :c"),
                {"t": table, "c": column},
            )
            assert kind.scalar_one() == "bigint", f"{table}.{column}"


def test_a_plan_that_follows_an_ended_one_counts_whichever_news_comes_first(cast: Cast, stage: Stage) -> None:
    """Ended and begun anew by the seller at Stripe: that the old one ended is told after the new one."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    old = stage.stripe("GET", "/v1/subscriptions/" + db.session.execute(select(Subscription.stripe_id)).scalar_one())
    db.session.remove()
    stage.stripe("DELETE", f"/v1/subscriptions/{old['id']}")
    ended = stage.new_events()
    order = {"line_items[0][price]": old["items"]["data"][0]["price"]["id"], "line_items[0][quantity]": 1}
    back = {"mode": "subscription", "customer": old["customer"], "success_url": "http://127.0.0.1:8000/done"}
    page = stage.stripe("POST", "/v1/checkout/sessions", **order, **back)
    assert stage.pay(page["url"]).status_code == 303
    stage.deliver_all()
    for event in ended:
        assert stage.deliver(event) == 200
    stage.drain()
    rows = db.session.execute(select(Subscription.status, Subscription.duplicate).order_by(Subscription.started_at))
    assert sorted(tuple(row) for row in rows) == [("active", False), ("canceled", False)]
    assert db.session.execute(select(Alarm.kind)).scalars().all() == []
    paid = select(CreditGrant.amount).where(CreditGrant.cause_key.like("period:sub%"))
    assert db.session.execute(paid).scalars().all() == [20_000, 20_000]
