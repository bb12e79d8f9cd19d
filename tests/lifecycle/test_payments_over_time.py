"""A subscription lives on at the stand-in: each thing that happens to money leaves its line, and its mail where one is due."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from portal.billing.models import Payment, Subscription
from portal.core.database import db
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from tests.cast import Cast
from tests.stage import Stage


def lines(team_id: str) -> list[tuple[str, str, int]]:
    query = select(Payment).where(Payment.team_id == team_id).order_by(Payment.occurred_at, Payment.type)
    found = [(row.type, row.status, row.amount) for row in db.session.execute(query).scalars()]
    db.session.remove()
    return found


def test_a_trial_is_announced_charged_renewed_and_ended(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    assert lines(cast.team_id) == [("subscription_payment", "succeeded", 0)]

    stage.advance(timedelta(days=12))
    stage.deliver_all()
    announced = list(db.session.execute(select(OutboxItem.payload)).scalars())
    assert {mail["to"] for mail in announced if mail["message"] == "trial_will_end"} == {
        "owner@example.com",
        "billing@example.com",
    }
    db.session.remove()

    stage.advance(timedelta(days=3))
    stage.deliver_all()
    assert lines(cast.team_id)[1:] == [("subscription_payment", "succeeded", 9_900)]
    assert balance(cast.team_id).available == 5_000
    db.session.remove()

    stage.advance(timedelta(days=31))
    stage.deliver_all()
    assert lines(cast.team_id)[1:] == [("subscription_payment", "succeeded", 9_900)] * 2

    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("POST", f"/v1/subscriptions/{ours}", cancel_at_period_end="true")
    stage.deliver_all()
    stage.advance(timedelta(days=31))
    stage.deliver_all()
    assert lines(cast.team_id)[-1] == ("cancel", "succeeded", 0)
    assert [line for line in lines(cast.team_id) if line[2] > 0] == [("subscription_payment", "succeeded", 9_900)] * 2
