"""Credits of changes of plan within a period, as Stripe bills them: once each, in whatever order their news come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.models import Payment
from portal.billing.paid_change_models import PaidChange
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.grant_causes import cause_of
from portal.credits.models import CreditGrant
from portal.credits.queries import balance, summary
from tests.cast import Cast
from tests.plan_changes import Changer
from tests.purchases import violations
from tests.stage import Stage

CREDITS = {"starter": 1_000, "pro": 5_000, "business": 20_000}


def on(stage: Stage, cast: Cast, plan: str, interval: str = "month") -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=timedelta())


def switch(changer: Changer, plan: str, interval: str = "month") -> None:
    """Another plan, charged at once: by the seller at Stripe, who may also do what our pages do not offer."""
    stage, live = changer.stage, changer.live()
    key = f"turnpike_plan_{plan}_{interval}"
    price = stage.stripe("GET", "/v1/prices", **{"lookup_keys[]": key})["data"][0]["id"]
    items = {"items[0][id]": live["items"]["data"][0]["id"], "items[0][price]": price}
    stage.stripe("POST", f"/v1/subscriptions/{live['id']}", **items, proration_behavior="always_invoice")


def paid_for(changer: Changer) -> dict[str, Any]:
    """Past the trial: the first period that is paid for."""
    changer.pass_period()
    found: dict[str, Any] = changer.live()
    return found


def available(cast: Cast) -> int:
    db.session.remove()
    found = balance(cast.team_id)
    assert violations() == []
    db.session.remove()
    return found.available - found.debt


def expected(team_id: str, base: int) -> int:
    """The rule from the recorded lines: credits by second over the period that the subscription is in."""
    period = db.session.execute(
        select(CreditGrant).where(CreditGrant.cause_key.like("period:sub%")).order_by(CreditGrant.effective_at.desc())
    ).scalars().first()  # fmt: skip
    assert period is not None
    assert period.expires_at is not None
    length = int((period.expires_at - period.effective_at).total_seconds())
    lines = db.session.execute(
        select(PaidChange).where(PaidChange.team_id == team_id).order_by(PaidChange.since, PaidChange.invoiced_at)
    ).scalars()
    total = 0
    for line in lines:
        seconds = int((line.until - line.since).total_seconds())
        total += line.credits * seconds
    db.session.remove()
    return base + max(total, 0) // length


def test_an_upgrade_gives_the_difference_for_the_rest_of_the_period(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=10))
    stage.deliver_all()
    preview, _ = changer.change("business")
    page = cast.owner.client.get(f"/teams/{cast.team_id}/plan/previews/{preview.id}").get_data(as_text=True)
    assert page
    after = available(cast)
    assert after == expected(cast.team_id, CREDITS["pro"])
    assert CREDITS["pro"] + 9_000 < after < CREDITS["pro"] + 11_000, "about two thirds of 15,000"
    found = summary(cast.team_id)
    assert (found.next_reset_amount, found.plan_left) == (CREDITS["business"], after)
    db.session.remove()
    changer.pass_period()
    assert available(cast) == CREDITS["business"], "the month's credits end with it, those of the upgrade too"


def test_up_and_down_within_a_second_comes_to_nothing_in_any_order(cast: Cast, stage: Stage) -> None:
    """Fault 40."""
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=10))
    stage.deliver_all()
    for plan in ("business", "pro", "business", "pro"):
        switch(changer, plan)
    events = stage.new_events()
    Random(40).shuffle(events)
    for event in events:
        assert stage.deliver(event) == 200
        stage.drain()
    assert available(cast) == expected(cast.team_id, CREDITS["pro"])
    assert available(cast) <= CREDITS["pro"] + 1
    before = available(cast)
    for event in events:
        assert stage.deliver({**event, "id": new_id("evt")}) == 200
    stage.drain()
    assert available(cast) == before


def test_what_was_spent_of_an_upgrade_is_owed_when_it_is_given_back(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    switch(changer, "business")
    stage.deliver_all()
    everything = available(cast)
    assert everything == expected(cast.team_id, CREDITS["pro"])
    assert everything > CREDITS["business"] - 100
    with unit_of_work():
        ledger.spend(cast.team_id, everything, "usage:all")
    switch(changer, "pro")
    stage.deliver_all()
    # The dearer plan was in force for less than a minute.
    owed = everything - expected(cast.team_id, CREDITS["pro"])
    assert 14_900 < owed <= 15_000
    assert available(cast) == -owed
    changer.pass_period()
    assert available(cast) == CREDITS["pro"] - owed


def test_a_refund_of_an_upgrade_takes_what_it_gave(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=10))
    stage.deliver_all()
    changer.change("business")
    more = available(cast) - CREDITS["pro"]
    query = select(Payment).where(Payment.type == "upgrade")
    payment = db.session.execute(query).scalar_one()
    intent, amount = payment.payment_intent_stripe_id, payment.amount
    db.session.remove()
    stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=amount // 3)
    stage.deliver_all()
    assert available(cast) == CREDITS["pro"] + more - more * (amount // 3) // amount
    stage.stripe("POST", "/v1/refunds", payment_intent=intent)
    stage.deliver_all()
    assert available(cast) == CREDITS["pro"]


def test_an_upgraded_year_has_the_dearer_plans_credits_in_the_months_to_come(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", "year")
    paid_for(changer)
    stage.advance(timedelta(days=45))
    stage.deliver_all()
    assert available(cast) == CREDITS["pro"]
    changer.change("business", "year")
    assert CREDITS["pro"] + 6_000 < available(cast) < CREDITS["pro"] + 9_000, "half of a month's 15,000"
    assert summary(cast.team_id).next_reset_amount == CREDITS["business"]
    db.session.remove()
    for _ in range(2):
        stage.advance(timedelta(days=31))
        stage.drain()
        assert available(cast) == CREDITS["business"]
    payment = db.session.execute(select(Payment).where(Payment.type == "upgrade")).scalar_one()
    intent = payment.payment_intent_stripe_id
    db.session.remove()
    stage.stripe("POST", "/v1/refunds", payment_intent=intent)
    stage.deliver_all()
    assert available(cast) == CREDITS["pro"]
    stage.advance(timedelta(days=31))
    stage.drain()
    assert available(cast) == CREDITS["pro"], "what comes later was refunded, too"


def upgrade_lots(cast: Cast) -> list[CreditGrant]:
    query = select(CreditGrant).where(CreditGrant.team_id == cast.team_id, CreditGrant.cause_key.like("upgrade:%"))
    found = list(db.session.execute(query.order_by(CreditGrant.id)).scalars())
    db.session.remove()
    return found


def test_an_upgrade_that_becomes_known_when_its_month_is_over_stands_in_the_ledger(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=10))
    stage.deliver_all()
    switch(changer, "business")
    late = stage.new_events()
    changer.pass_period()
    for event in late:
        assert stage.deliver(event) == 200
    stage.drain()
    assert [lot.state for lot in upgrade_lots(cast)] == ["ended"]
    assert available(cast) == CREDITS["business"]


def test_an_upgrade_of_the_month_gives_nothing_of_the_year_that_follows_within_it(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "starter")
    paid_for(changer)
    stage.advance(timedelta(days=2))
    switch(changer, "pro")
    stage.deliver_all()
    month = available(cast)
    assert month == expected(cast.team_id, CREDITS["starter"])
    stage.advance(timedelta(days=2))
    switch(changer, "pro", "year")
    stage.deliver_all()
    assert available(cast) == month + CREDITS["pro"]
    assert len(upgrade_lots(cast)) == 1


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_upgrade_of_a_year_gives_nothing_of_the_month_that_it_took_the_place_of(
    cast: Cast, stage: Stage, shuffled: bool
) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=4))
    switch(changer, "pro", "year")
    events = stage.new_events()
    stage.advance(timedelta(days=1))
    switch(changer, "business", "year")
    events += stage.new_events()
    if shuffled:
        Random(7).shuffle(events)
    for event in events:
        assert stage.deliver(event) == 200
        stage.drain()
    lots = upgrade_lots(cast)
    assert len(lots) == 1
    assert 14_000 < lots[0].amount < 15_000, "a day less than the year's first month"
    assert available(cast) == 2 * CREDITS["pro"] + lots[0].amount


def test_a_year_that_a_month_has_taken_the_place_of_brings_no_further_months(cast: Cast, stage: Stage) -> None:
    """The seller has done it at Stripe, which gave the rest of the year's money back."""
    changer = on(stage, cast, "pro", "year")
    paid_for(changer)
    stage.advance(timedelta(days=4))
    switch(changer, "pro", "month")
    stage.deliver_all()
    for _ in range(3):
        stage.advance(timedelta(days=31))
        stage.deliver_all()
        stage.drain()
    query = select(CreditGrant.effective_at).where(CreditGrant.cause_key.like("period:sub%:plan:%"))
    begins = sorted(db.session.execute(query).scalars())
    assert len(begins) == 5, "one of the year, and four of the months since"
    assert available(cast) == CREDITS["pro"]


def test_news_of_an_upgrade_give_nothing_more_of_a_year_that_was_replaced(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", "year")
    paid_for(changer)
    stage.advance(timedelta(days=4))
    switch(changer, "business", "year")
    stage.deliver_all()
    payment = db.session.execute(select(Payment).where(Payment.type == "upgrade")).scalar_one()
    upgrade, third = payment.payment_intent_stripe_id, payment.amount // 3
    db.session.remove()
    stage.advance(timedelta(days=4))
    switch(changer, "business", "month")
    stage.deliver_all()
    for _ in range(2):
        stage.advance(timedelta(days=31))
        stage.deliver_all()
        stage.drain()
    before = available(cast)
    stage.stripe("POST", "/v1/refunds", payment_intent=upgrade, amount=third)
    stage.deliver_all()
    assert available(cast) <= before
    assert len(upgrade_lots(cast)) == 1


def test_the_first_month_of_a_year_begun_within_a_month_is_explained_by_the_years_invoice(
    cast: Cast, stage: Stage
) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=4))
    switch(changer, "pro", "year")
    stage.deliver_all()
    query = select(CreditGrant).where(CreditGrant.cause_key.like("period:sub%:plan:%"))
    lots = db.session.execute(query.order_by(CreditGrant.effective_at)).scalars().all()
    causes = [cause_of(cast.team_id, lot.cause_key, lot.kind, lot.source, lot.effective_at) for lot in lots]
    month, year = (cause.invoice for cause in causes)
    assert month is not None
    assert year is not None
    assert [cause.words for cause in causes] == [
        "A month of the plan, paid for.",
        "A month of a year that is paid for.",
    ]
    assert [month.billing_reason, year.billing_reason] == ["subscription_cycle", "subscription_update"]


@pytest.mark.parametrize(("policy", "words"), [("none", "stay as they are until"), ("full", "are added at once")])
def test_the_catalog_decides_what_an_upgrade_gives(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, policy: str, words: str
) -> None:
    catalog = stage.app.extensions["catalog"]
    monkeypatch.setitem(stage.app.extensions, "catalog", replace(catalog, upgrade_grant=policy))
    changer = on(stage, cast, "pro")
    paid_for(changer)
    stage.advance(timedelta(days=10))
    stage.deliver_all()
    answer = changer.ask("business")
    assert words in changer.person.client.get(answer.location).get_data(as_text=True)
    changer.finish(changer.shown(answer))
    assert available(cast) == {"none": CREDITS["pro"], "full": CREDITS["business"]}[policy]


def test_a_plan_that_is_ended_with_its_rest_given_back_gives_back_the_upgrades_share(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro")
    paid_for(changer)
    switch(changer, "business")
    stage.deliver_all()
    stage.advance(timedelta(days=15))
    stage.deliver_all()
    changer.leave("cancel_now")
    left = available(cast)
    assert 9_000 < left < 11_000, "about half a month of 20,000"
