"""Changes of plan that become known one after another, in every order: after each of them the month has what the sum says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from flask import Flask
from sqlalchemy import text

from portal.billing.models import PaidPeriod
from portal.billing.paid_change_models import PaidChange
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits.queries import balance
from portal.credits.upgrades import settle_upgrades
from portal.credits.verify import verify
from tests.lifecycle.credits.account import new_team

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
START, END = NOW - 10 * DAY, NOW + 20 * DAY

# Each is a second after the beginning, the plan's credits before and after. The ids are in no order of the changes.
SAME_SECOND = {"in_c": (86_400, 5_000, 20_000), "in_b": (86_400, 20_000, 5_000), "in_d": (86_400, 5_000, 20_000), "in_a": (86_400, 20_000, 5_000)}  # fmt: skip
IN_TURN = {"in_c": (86_400, 5_000, 20_000), "in_b": (172_800, 20_000, 1_000), "in_d": (259_200, 1_000, 5_000), "in_a": (345_600, 5_000, 20_000)}  # fmt: skip


@pytest.mark.parametrize("changes", [SAME_SECOND, IN_TURN], ids=["in one second", "on four days"])
def test_whatever_becomes_known_first_the_sum_is_granted(app: Flask, changes: dict[str, tuple[int, int, int]]) -> None:
    length = int((END - START).total_seconds())
    for order in permutations(changes):
        team_id, subscription = new_team(), new_id("sub")
        paid = PaidPeriod(
            id=new_id("paid"), team_id=team_id, subscription_stripe_id=subscription, invoice_stripe_id=new_id("in"),
            kind="plan", plan_key="pro", interval="month", period_start=START, period_end=END, credits_monthly=5_000,
        )  # fmt: skip
        with unit_of_work() as session:
            session.add(paid)
        total = 0
        for known in order:
            second, before, after = changes[known]
            since = START + timedelta(seconds=second)
            with unit_of_work() as session:
                for line, amount in enumerate((-before, after)):
                    session.add(
                        PaidChange(
                            invoice_stripe_id=f"{known}_{team_id}", line=line, team_id=team_id, credits=amount,
                            subscription_stripe_id=subscription, plan_key="any", since=since, until=END,
                            policy="difference", invoiced_at=since,
                        )
                    )  # fmt: skip
                session.flush()
                settle_upgrades(paid, NOW, None)
            total += (after - before) * (length - second)
            stands = balance(team_id)
            assert stands.available - stands.debt == max(total, 0) // length, f"{known} of {order}"
            db.session.remove()
    with unit_of_work():
        assert [finding for finding in verify() if finding.violations] == []
        assert db.session.execute(text("select count(*) from credit_grants where remaining < 0")).scalar_one() == 0
