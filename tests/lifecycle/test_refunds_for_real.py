"""Refunds through the stand-in's own endpoint: its answers and its events, without anything laid over them."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.billing.models import Payment, Refund
from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast
from tests.stage import Stage

PAID, GRANTED = 29_900, 20_000


@pytest.mark.parametrize("amounts", [(PAID,), (10_000, 1, PAID - 10_001)])
def test_a_refund_at_the_stand_in_takes_its_part_of_the_credits(
    cast: Cast, stage: Stage, amounts: tuple[int, ...]
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    db.session.remove()
    total = 0
    for amount in amounts:
        stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=amount)
        total += amount
        events = stage.deliver_all()
        assert {"refund.created", "charge.refunded"} <= {event["type"] for event in events}
        assert balance(cast.team_id).available == GRANTED - GRANTED * total // PAID
        paid = select(Payment.amount_refunded).where(Payment.type == "subscription_payment")
        assert db.session.execute(paid).scalar_one() == total
        db.session.remove()
    assert set(db.session.execute(select(Refund.status)).scalars()) == {"succeeded"}
    page = cast.member.client.get(f"/teams/{cast.team_id}/payments").get_data(as_text=True)
    assert page.count("Refund: ") == len(amounts)
