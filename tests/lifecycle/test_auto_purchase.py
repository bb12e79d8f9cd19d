"""Credits that buy themselves: once for all who spend, one try for each arming, never past what was agreed to."""

from __future__ import annotations

from datetime import timedelta

from portal.credits.purchase_size import Limits
from tests.auto_buyers import ASKS, ASKS_THEN_DECLINES, CREDITS, DECLINES, WORKS, AutoBuyer
from tests.cast import Cast
from tests.purchases import violations
from tests.stage import Stage


def test_crossing_the_threshold_buys_one_bundle_and_says_so(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    assert buyer.spend(100)
    assert buyer.states() == [], "500 are left, which is not fewer than 500"
    assert buyer.spend(1)
    assert buyer.states() == [("pending", None)]
    buyer.settle()
    assert buyer.states() == [("granted", None)]
    assert buyer.granted() == [CREDITS]
    assert buyer.balance() == 499 + CREDITS
    assert buyer.charges() == ["succeeded"]
    assert buyer.mails() == ["auto_purchase_on", "auto_purchase_made"]
    assert violations() == []
