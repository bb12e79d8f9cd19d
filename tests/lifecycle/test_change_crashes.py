"""A worker that is killed at every point of a change at which something leaves the process: one change, one charge.

For each of them a change of its own, until one comes by fewer of them: a worker is killed there, another one comes, and
then it is made, once, and as it was shown. Some of the points are tried unless all are asked for (`points_of`).
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from portal.billing.change_models import PendingChange
from portal.core.database import db
from tests.cast import Cast
from tests.crashing import Crasher, crasher, nothing_is_locked, points_of
from tests.plan_changes import Changer, read
from tests.purchases import make_buyer, violations
from tests.stage import Stage
from tests.worker_process import until

__all__ = ["crasher"]

# Before each of them nothing has left the process since the one before.
TELLING = ("after POST", "after commit")
LEAVING = (*TELLING, "after DELETE")
DAY = timedelta(days=1)
DECLINES, WORKS = "pm_card_chargeCustomerFail", "pm_card_visa"


@pytest.mark.parametrize("kind", ["paid", "declined", "planned"])
def test_killed_at_every_point_a_change_is_made_once(
    app: Flask, cast: Cast, stage: Stage, crasher: Crasher, kind: str
) -> None:
    changer = Changer.on(stage, cast.owner, cast.team_id, "business")
    if kind == "declined":
        changer.switch_card(DECLINES)
    for point in points_of(kind):
        before = len(changer.invoices())
        change_id = _agree(changer, kind)
        undisturbed = crasher.run("change", kill_at=point, among=TELLING)
        until(nothing_is_locked, "the database has noticed")
        change = _finished(changer, change_id)
        assert change.state == ("failed" if kind == "declined" else "done"), point
        made = changer.invoices()[: len(changer.invoices()) - before]
        if kind == "paid":
            assert [(one["status"], one["amount_paid"]) for one in made] == [("paid", _due(change))], point
        else:
            assert {one["status"] for one in made} <= {"void"}, point
        assert changer.live()["pending_update"] is None
        changer.assert_mirrored()
        if undisturbed is not None:
            break
        _reset(changer, kind)
    assert point >= 5
    assert violations() == []


@pytest.mark.parametrize("act", ["cancel_now", "unpause"])
def test_killed_at_every_point_a_plan_is_left_or_goes_on_once(
    app: Flask, stage: Stage, crasher: Crasher, act: str
) -> None:
    """Each time by another team, since a plan ends only once."""
    for point in points_of(act):
        changer = Changer.on(stage, *make_buyer(app, f"Team {point}"), "business", wait=DAY)
        if act == "unpause":
            changer.leave("pause")
            stage.advance(40 * DAY)
        before = len(changer.invoices())
        answer = changer.agree(changer.shown(changer.ask_to_leave(act)))
        undisturbed = crasher.run("change", kill_at=point, among=LEAVING)
        until(nothing_is_locked, "the database has noticed")
        change = _finished(changer, answer.location.rsplit("/", 1)[1])
        assert change.state == "done", (point, change.failure_code)
        made = changer.invoices()[: len(changer.invoices()) - before]
        assert [(one["status"], one["amount_paid"]) for one in made] == [("paid", _due(change))], point
        assert changer.mirrored().status == ("canceled" if act == "cancel_now" else "active"), point
        changer.assert_mirrored()
        if undisturbed is not None:
            break
    assert point >= 4
    assert violations() == []


def _agree(changer: Changer, kind: str) -> str:
    """Agree to what can be done again and again: from month to year and (at Stripe) back, or to a smaller plan."""
    wanted = changer.ask("pro") if kind == "planned" else changer.ask("business", "year")
    answer = changer.agree(changer.shown(wanted))
    assert answer.status_code == 303
    return answer.location.rsplit("/", 1)[1]


def _reset(changer: Changer, kind: str) -> None:
    if kind == "planned":
        changer.undo()
    elif kind == "paid":
        month = changer.stage.stripe("GET", "/v1/prices", **{"lookup_keys[0]": "turnpike_plan_business_month"})["data"][
            0
        ]
        item = {"items[0][id]": changer.live()["items"]["data"][0]["id"], "items[0][price]": month["id"]}
        changer.stage.stripe(
            "POST", f"/v1/subscriptions/{changer.mirrored().stripe_id}", **item, proration_behavior="none"
        )
        changer.stage.deliver_all()


def _finished(changer: Changer, change_id: str) -> PendingChange:
    for _ in range(5):
        db.session.execute(text("update pending_changes set run_at = app_now() where finished_at is null"))
        db.session.commit()
        changer.stage.drain()
        if read(PendingChange, change_id).finished_at is not None:
            break
    changer.stage.deliver_all()
    return read(PendingChange, change_id)


def _due(change: PendingChange) -> int:
    query = text("select amount_due from change_previews where id = :id")
    due = db.session.execute(query, {"id": change.preview_id}).scalar_one()
    db.session.remove()
    return int(due)
