"""Changes in random order, as people and time bring them: each charges what was shown, and nothing is forgotten.

`CHANGE_SEQUENCES=200` tries so many; a few are enough to notice that something broke.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from portal.billing.change_models import ChangePreview
from tests.plan_changes import Changer, planned_of
from tests.purchases import make_buyer, violations
from tests.stage import Stage

SEQUENCES = int(os.environ.get("CHANGE_SEQUENCES", "4"))
STEPS_MAX = 6

Step = tuple[str, Any]
PLANS = st.tuples(st.sampled_from(["starter", "pro", "business"]), st.sampled_from(["month", "year"]))
STEPS = st.one_of(
    st.tuples(st.just("plan"), PLANS),
    st.tuples(st.just("plan with a code"), PLANS),
    st.tuples(st.just("seats"), st.integers(1, 40)),
    st.tuples(st.just("add-on"), st.tuples(st.sampled_from(["audit_log", "longer_history"]), st.integers(0, 5))),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("days"), st.integers(1, 20)),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("end of the period"), st.none()),
)


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    derandomize="CHANGE_SEQUENCES" not in os.environ,
    phases=[Phase.explicit, Phase.generate],  # to shrink a sequence takes longer than to read it
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(start=PLANS, steps=st.lists(STEPS, min_size=2, max_size=STEPS_MAX))
def test_whatever_the_order_the_charge_is_what_was_shown(
    app: Flask, stage: Stage, start: tuple[str, str], steps: list[Step]
) -> None:
    note(f"{start}: {steps}")
    person, team_id = make_buyer(app, "Harbor Analytics")
    changer = Changer.on(stage, person, team_id, *start, wait=timedelta(days=1))
    for step in steps:
        _take(changer, step)
        changer.assert_mirrored()
        assert {one["status"] for one in changer.invoices()} == {"paid"}, "an orphan"
    assert violations() == []
    if changer.mirrored().status != "canceled":
        stage.stripe("DELETE", f"/v1/subscriptions/{changer.mirrored().stripe_id}")
        stage.deliver_all()


def _take(changer: Changer, step: Step) -> None:
    name, value = step
    ours = f"/v1/subscriptions/{changer.mirrored().stripe_id}"
    match name:
        case "plan" | "plan with a code":
            more = {"promotion_code": changer.code()} if name == "plan with a code" else {}
            _change(changer, changer.ask(*value, **more))
        case "seats":
            planned = planned_of(changer.mirrored())
            _change(changer, changer.ask_seats(value))
            now = planned_of(changer.mirrored())
            assert (planned is None) == (now is None), "what is planned was forgotten"
            assert planned is None or now is None or (planned[:2], planned[3]) == (now[:2], now[3])
        case "add-on":
            planned = planned_of(changer.mirrored())
            _change(changer, changer.ask_addon(*value))
            assert planned_of(changer.mirrored()) == planned, "what is planned was forgotten"
        case "undo":
            if planned_of(changer.mirrored()) is not None and changer.live()["cancel_at"] is None:
                assert changer.undo().state == "done"
                assert planned_of(changer.mirrored()) is None
        case "days":
            changer.stage.advance(timedelta(days=value))
            changer.stage.deliver_all()
        case "end of the period":
            changer.pass_period()
            _keep_alive(changer)
        case "cancel" if planned_of(changer.mirrored()) is None and changer.live()["schedule"] is None:
            changer.stage.stripe("POST", ours, cancel_at_period_end="true")
            changer.stage.deliver_all()
        case "resume" if changer.live()["cancel_at"] is not None:
            changer.stage.stripe("POST", ours, cancel_at_period_end="false")
            changer.stage.deliver_all()


def _change(changer: Changer, answer: Any) -> None:
    """Do what was shown; what is refused leaves everything as it was."""
    before = changer.invoices()
    if answer.status_code in (409, 422):
        assert changer.invoices() == before
        return
    preview, change = changer.finish(changer.shown(answer))
    assert change.state == "done", (change.state, change.failure_code)
    made = changer.invoices()[: len(changer.invoices()) - len(before)]
    if not preview.shown["at_once"]:
        assert made == []
        return
    assert [(one["amount_paid"], one["total"]) for one in made] == [_sums(preview)]


def _sums(preview: ChangePreview) -> tuple[int, int]:
    return preview.amount_due, preview.shown["total"]


def _keep_alive(changer: Changer) -> None:
    """One that was canceled has ended by now: nothing more can be done with it, and it stays as it is."""
    if changer.mirrored().status == "canceled":
        assert changer.ask("pro").status_code == 409
