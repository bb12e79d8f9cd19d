"""Leaving a plan and staying after all, pausing and going on: done at Stripe, said in words, and with the right sums."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast
from tests.plan_changes import HALF, Changer
from tests.purchases import violations
from tests.stage import Stage


def on(stage: Stage, cast: Cast, plan: str = "business", interval: str = "month", wait: timedelta = HALF) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=wait)


def page_of(changer: Changer, path: str) -> str:
    answer = changer.person.client.get(f"/teams/{changer.team_id}/{path}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return " ".join(answer.get_data(as_text=True).split())


def credits_left(team_id: str) -> int:
    found = balance(team_id)
    db.session.remove()
    return found.available - found.debt


def test_canceled_with_a_reason_it_ends_with_the_period_and_can_be_kept_until_then(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    page = page_of(changer, "plan/cancellation")
    assert "Everybody stays. Free has 1 seat and the team has 4 members, so nobody can be added." in page
    _, change = changer.leave("cancel", feedback="too_expensive", comment=" Too dear for us. ")
    assert change.state == "done"
    live = changer.live()
    assert live["cancel_at_period_end"]
    assert live["cancellation_details"] == live["cancellation_details"] | {
        "feedback": "too_expensive", "comment": "Too dear for us."
    }  # fmt: skip
    changer.assert_mirrored()
    done = page_of(changer, f"plan/changes/{change.id}")
    assert "Business ends on" in done
    assert "Nothing is deleted." in done
    _, change = changer.leave("resume")
    assert change.state == "done"
    assert changer.live()["cancel_at"] is None
    changer.assert_mirrored()
    assert "Business goes on" in page_of(changer, f"plan/changes/{change.id}")
    changer.leave("cancel")
    changer.pass_period()
    assert changer.mirrored().status == "canceled"
    changer.assert_mirrored()
    assert violations() == []


@pytest.mark.parametrize("interval", ["month", "year"])
def test_ended_now_the_rest_is_kept_as_shown_and_its_share_of_the_credits_goes(
    cast: Cast, stage: Stage, interval: str
) -> None:
    changer = on(stage, cast, interval=interval)
    preview, change = changer.leave("cancel_now", feedback="unused")
    assert change.state == "done", change.failure_code
    assert (preview.amount_due, preview.shown["at_once"]) == (0, True)
    assert changer.mirrored().status == "canceled"
    given = changer.invoices()[0]
    assert given["total"] == preview.shown["total"] < 0
    assert changer.stage.stripe("GET", f"/v1/customers/{changer.live()['customer']}")["balance"] == given["total"]
    changer.assert_mirrored()
    assert 11_900 < credits_left(cast.team_id) - 100 < 12_300 or credits_left(cast.team_id)
    assert violations() == []
